import Engine
import HTTPModel
import ResourceModel
import Resources
import Routing
import SwiftProtobuf
import Telemetry

/// Compiles access logs: where to, in what form, and of which requests.
struct AccessLogCompiler {
  typealias Message = Envoy_Config_Accesslog_V3_AccessLog
  typealias FilterMessage = Envoy_Config_Accesslog_V3_AccessLogFilter

  let context: CompileContext

  private static let file = "envoy.extensions.access_loggers.file.v3.FileAccessLog"
  private static let stdout = "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
  private static let stderr = "envoy.extensions.access_loggers.stream.v3.StderrAccessLog"

  func compile(_ logs: [Message], at path: ConfigPath) -> [Ref<AccessLog>] {
    logs.enumerated().compactMap { index, log in compile(log, at: path.index(index)) }
  }

  private func compile(_ log: Message, at path: ConfigPath) -> Ref<AccessLog>? {
    let place = path.field("typed_config")
    guard let (target, format) = sink(log.typedConfig, at: place), let format else { return nil }
    let filter = log.hasFilter ? self.filter(log.filter, at: path.field("filter")) : nil
    guard !log.hasFilter || filter != nil else { return nil }
    return .configured(AccessLog(filter: filter, format: format, target: target))
  }

  private func sink(
    _ config: Google_Protobuf_Any, at path: ConfigPath
  ) -> (LogTargetID, LogFormat?)? {
    let formats = FormatCompiler(context.diagnostics)
    switch FilterRegistry.typeName(of: config.typeURL) {
    case Self.file:
      guard
        let message = try? Envoy_Extensions_AccessLoggers_File_V3_FileAccessLog(
          serializedBytes: config.value),
        let target = open(Self.destination(message.path), at: path.field("path"))
      else { return nil }
      return (target, fileFormat(message, formats, at: path))
    case Self.stdout:
      guard
        let message = try? Envoy_Extensions_AccessLoggers_Stream_V3_StdoutAccessLog(
          serializedBytes: config.value), let target = open(.standardOutput, at: path)
      else { return nil }
      return (
        target,
        streamFormat(message.accessLogFormat == nil ? nil : message.logFormat, formats, at: path)
      )
    case Self.stderr:
      guard
        let message = try? Envoy_Extensions_AccessLoggers_Stream_V3_StderrAccessLog(
          serializedBytes: config.value), let target = open(.standardError, at: path)
      else { return nil }
      return (
        target,
        streamFormat(message.accessLogFormat == nil ? nil : message.logFormat, formats, at: path)
      )
    default: return nil
    }
  }

  private static func destination(_ path: String) -> LogDestination {
    switch path {
    case "/dev/stdout": .standardOutput
    case "/dev/stderr": .standardError
    default: .file(path)
    }
  }

  /// In validation nothing is opened: a check must not touch the machine it runs on.
  private func open(_ destination: LogDestination, at path: ConfigPath) -> LogTargetID? {
    guard let writer = context.logWriter else { return LogTargetID(index: 0) }
    do throws(LogOpenError) {
      return try writer.open(destination)
    } catch {
      context.diagnostics.error(at: path, error.description)
      return nil
    }
  }

  private func streamFormat(
    _ format: Envoy_Config_Core_V3_SubstitutionFormatString?, _ formats: FormatCompiler,
    at path: ConfigPath
  ) -> LogFormat? {
    guard let format else { return formats.line(LogFormat.defaultText, at: path) }
    return formats.line(format, at: path.field("log_format"))
  }

  private func fileFormat(
    _ message: Envoy_Extensions_AccessLoggers_File_V3_FileAccessLog, _ formats: FormatCompiler,
    at path: ConfigPath
  ) -> LogFormat? {
    switch message.accessLogFormat {
    case .format(let text):
      formats.line(text.isEmpty ? LogFormat.defaultText : text, at: path.field("format"))
    case .jsonFormat(let object): formats.line(object, at: path.field("json_format"))
    case .typedJsonFormat(let object): formats.line(object, at: path.field("typed_json_format"))
    case .logFormat(let format): formats.line(format, at: path.field("log_format"))
    case nil: formats.line(LogFormat.defaultText, at: path)
    }
  }

  // MARK: Filters

  func filter(_ message: FilterMessage, at path: ConfigPath) -> AccessLogFilter? {
    switch message.filterSpecifier {
    case .statusCodeFilter(let filter):
      return .status(
        comparison(filter.comparison), number(filter.comparison.value))
    case .durationFilter(let filter):
      return .duration(comparison(filter.comparison), number(filter.comparison.value))
    case .notHealthCheckFilter: return .notHealthCheck
    case .runtimeFilter(let filter):
      let fraction =
        context.layers.fractions[filter.runtimeKey]
        ?? context.layers.numbers[filter.runtimeKey].map(Self.percent) ?? filter.percentSampled
      return .share(RuntimeFraction(fraction))
    case .andFilter(let list):
      return .all(filters(list.filters, at: path.field("and_filter").field("filters")))
    case .orFilter(let list):
      return .any(filters(list.filters, at: path.field("or_filter").field("filters")))
    case .headerFilter(let filter):
      let place = path.field("header_filter").field("header")
      return HeaderMatcher(filter.header, at: place, context.diagnostics)
        .map { .header(.configured($0)) }
    case .responseFlagFilter(let filter):
      return .flags(flags(filter.flags, at: path.field("response_flag_filter").field("flags")))
    case .grpcStatusFilter(let filter):
      let bits = filter.statuses.reduce(UInt32(0)) { $0 | 1 << UInt32($1.rawValue & 31) }
      return .grpcStatus(statuses: bits, exclude: filter.exclude)
    case .metadataFilter(let filter):
      return .metadata(.configured(metadata(filter, at: path.field("metadata_filter"))))
    case nil: return nil
    }
  }

  private func metadata(
    _ filter: Envoy_Config_Accesslog_V3_MetadataFilter, at path: ConfigPath
  ) -> MetadataCondition {
    let matcher = filter.matcher
    let place = path.field("matcher")
    if matcher.invert {
      context.diagnostics.error(
        at: place.field("invert"),
        "has no effect in Envoy's access logs, and is not supported here; remove it")
    }
    let keys = matcher.path.map(\.key)
    return MetadataCondition(
      space: .configured(matcher.filter), key: keys.count == 1 ? .configured(keys[0]) : nil,
      value: ValueMatcher(matcher.value, at: place.field("value"), context.diagnostics),
      holdsWithoutValue: !filter.hasMatchIfKeyNotFound || filter.matchIfKeyNotFound.value)
  }

  private static func percent(_ number: Double) -> Envoy_Type_V3_FractionalPercent {
    var fraction = Envoy_Type_V3_FractionalPercent()
    fraction.numerator = UInt32(max(0, min(number, 100)))
    return fraction
  }

  private func filters(
    _ list: [FilterMessage], at path: ConfigPath
  ) -> Table<Ref<AccessLogFilter>> {
    .configured(
      list.enumerated().compactMap { index, one in
        filter(one, at: path.index(index)).map { .configured($0) }
      })
  }

  private func number(_ value: Envoy_Config_Core_V3_RuntimeUInt32) -> UInt64 {
    context.layers.numbers[value.runtimeKey].map { UInt64(max(0, min($0, 4e9))) }
      ?? UInt64(value.defaultValue)
  }

  private func comparison(
    _ message: Envoy_Config_Accesslog_V3_ComparisonFilter
  ) -> AccessLogFilter.Comparison {
    switch message.op {
    case .ge: .atLeast
    case .le: .atMost
    case .ne: .different
    default: .equal
    }
  }

  private func flags(_ names: [String], at path: ConfigPath) -> ResponseFlags {
    var flags: ResponseFlags = []
    for (index, name) in names.enumerated() {
      if let flag = ResponseFlags(letters: name) {
        flags.formUnion(flag)
      } else {
        context.diagnostics.error(at: path.index(index), "'\(name)' is not a response flag")
      }
    }
    return flags
  }
}
