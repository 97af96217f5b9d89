import Engine
import HTTPModel
import ResourceModel
import Resources
import SwiftProtobuf
import Telemetry

/// A compiled `SubstitutionFormatString`, for the body of a reply.
package struct ReplyFormat: BitwiseCopyable {
  package let format: Ref<LogFormat>
  package let contentType: Bytes
}

/// Compiles formats out of the configuration, for lines of access logs and bodies of replies. What
/// cannot be compiled is nil, and a diagnostic.
package struct FormatCompiler {
  /// The most fixed text of a reply: more would not fit into one block. Of a line it is less, as
  /// `LogFormatOptions` says.
  private static let replyBytes = 128 * 1024

  private let diagnostics: Diagnostics

  package init(_ diagnostics: Diagnostics) { self.diagnostics = diagnostics }

  /// A reply's body.
  package func reply(
    _ message: Envoy_Config_Core_V3_SubstitutionFormatString, at path: ConfigPath
  ) -> ReplyFormat? {
    var options = Self.options(omitEmptyValues: message.omitEmptyValues)
    options.literalBytes = Self.replyBytes
    guard let format = compile(message, options, at: path) else { return nil }
    let isJSON = if case .jsonFormat = message.format { true } else { false }
    let type = isJSON ? "application/json" : "text/plain"
    return ReplyFormat(
      format: .configured(format),
      contentType: .configured(message.contentType.isEmpty ? type : message.contentType))
  }

  /// A line of an access log.
  package func line(
    _ message: Envoy_Config_Core_V3_SubstitutionFormatString, at path: ConfigPath
  ) -> LogFormat? {
    compile(message, Self.options(omitEmptyValues: message.omitEmptyValues), at: path)
  }

  /// A line of an access log, given as text.
  package func line(_ text: String, at path: ConfigPath) -> LogFormat? {
    attempt(at: path) { () throws(LogFormatError) in
      try LogFormat.text(text, Self.options(omitEmptyValues: false))
    }
  }

  /// A line of an access log, given as JSON.
  package func line(_ tree: Google_Protobuf_Struct, at path: ConfigPath) -> LogFormat? {
    attempt(at: path) { () throws(LogFormatError) in
      try LogFormat.json(Self.json(tree), Self.options(omitEmptyValues: false))
    }
  }

  /// Options under which header names are looked up by `HeaderID`.
  static func options(omitEmptyValues: Bool) -> LogFormatOptions {
    var options = LogFormatOptions(omitEmptyValues: omitEmptyValues)
    options.knownHeader = { name in Bytes.with(name) { HeaderID.of($0).rawValue } }
    return options
  }

  private func compile(
    _ message: Envoy_Config_Core_V3_SubstitutionFormatString, _ options: LogFormatOptions,
    at path: ConfigPath
  ) -> LogFormat? {
    switch message.format {
    case .textFormat(let text):
      return attempt(at: path.field("text_format")) { () throws(LogFormatError) in
        try LogFormat.text(text, options)
      }
    case .jsonFormat(let tree):
      return attempt(at: path.field("json_format")) { () throws(LogFormatError) in
        try LogFormat.json(Self.json(tree), options)
      }
    case .textFormatSource(let source):
      let place = path.field("text_format_source")
      let read = DataSourceReader.read(source, atMost: options.literalBytes, at: place, diagnostics)
      guard let read else { return nil }
      return attempt(at: place) { () throws(LogFormatError) in
        try LogFormat.text(String(decoding: read, as: UTF8.self), options)
      }
    case nil: return nil
    }
  }

  private func attempt(
    at path: ConfigPath, _ body: () throws(LogFormatError) -> LogFormat
  ) -> LogFormat? {
    do throws(LogFormatError) {
      let format = try body()
      ResourceMemory.atEnd { format.deallocate() }
      return format
    } catch {
      diagnostics.error(at: path, error.description)
      return nil
    }
  }

  private static func json(_ tree: Google_Protobuf_Struct) -> LogJSON {
    .object(tree.fields.sorted { $0.key < $1.key }.map { ($0.key, json($0.value)) })
  }

  private static func json(_ value: Google_Protobuf_Value) -> LogJSON {
    switch value.kind {
    case .stringValue(let text): .string(text)
    case .numberValue(let number): .number(number)
    case .boolValue(let flag): .bool(flag)
    case .structValue(let tree): json(tree)
    case .listValue(let list): .list(list.values.map(json))
    case .nullValue, nil: .null
    }
  }
}
