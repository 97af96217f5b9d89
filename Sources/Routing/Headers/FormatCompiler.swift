import Engine
import HTTPModel
import ResourceModel
import Resources
import SwiftProtobuf
import Telemetry

/// A compiled `SubstitutionFormatString`: the body of a reply, or a line of an access log.
package struct ReplyFormat: BitwiseCopyable {
  package let format: Ref<LogFormat>
  package let contentType: Bytes
}

/// Compiles formats out of the configuration.
package enum FormatCompiler {
  /// The most fixed text of a reply: more would not fit into one block.
  private static let replyBytes = 128 * 1024

  /// Compiles `message`; nil, and a diagnostic, when that is not possible.
  package static func compile(
    _ message: Envoy_Config_Core_V3_SubstitutionFormatString, at path: ConfigPath,
    _ diagnostics: Diagnostics
  ) -> ReplyFormat? {
    var options = options(omitEmptyValues: message.omitEmptyValues)
    options.literalBytes = replyBytes
    var place = path
    var contentType = message.contentType
    do throws(LogFormatError) {
      let format: LogFormat
      switch message.format {
      case .textFormat(let text):
        place = path.field("text_format")
        format = try LogFormat.text(text, options)
      case .textFormatSource(let source):
        place = path.field("text_format_source")
        let read = DataSourceReader.read(source, atMost: replyBytes, at: place, diagnostics)
        guard let read else { return nil }
        format = try LogFormat.text(String(decoding: read, as: UTF8.self), options)
      case .jsonFormat(let tree):
        place = path.field("json_format")
        format = try LogFormat.json(json(tree), options)
        if contentType.isEmpty { contentType = "application/json" }
      case nil: return nil
      }
      if contentType.isEmpty { contentType = "text/plain" }
      return ReplyFormat(format: .immortal(format), contentType: .immortal(contentType))
    } catch {
      diagnostics.error(at: place, error.description)
      return nil
    }
  }

  /// Options under which header names are looked up by `HeaderID`.
  package static func options(omitEmptyValues: Bool) -> LogFormatOptions {
    var options = LogFormatOptions(omitEmptyValues: omitEmptyValues)
    options.knownHeader = { HeaderID.of(.immortal($0)).rawValue }
    return options
  }

  /// The tree of a `json_format`.
  package static func json(_ tree: Google_Protobuf_Struct) -> LogJSON {
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
