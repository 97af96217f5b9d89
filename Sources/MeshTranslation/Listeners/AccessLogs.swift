import MeshMessages
import MeshModel
import ResourceModel
import SwiftProtobuf

/// What a proxy writes of requests and connections, and where: what its Telemetries say, and MeshConfig
/// where they do not. Merged as Istio does it.
struct AccessLogs {
  typealias Log = Envoy_Config_Accesslog_V3_AccessLog
  typealias LogFilter = Envoy_Config_Accesslog_V3_AccessLogFilter
  typealias Provider = Istio_Mesh_V1alpha1_MeshConfig.ExtensionProvider
  typealias File = Istio_Mesh_V1alpha1_MeshConfig.ExtensionProvider.EnvoyFileAccessLogProvider
  typealias Entry = Istio_Telemetry_V1alpha1_AccessLogging

  /// On which side of a connection the workload is.
  enum Mode {
    case client
    case server
  }

  /// What is said of one provider.
  enum Verdict: Equatable {
    case off
    /// With an expression, or for everything.
    case on(String?)
  }

  let settings: MeshSettings
  let profile: ClientProfile
  let notes: OmissionNotes

  /// The file of the mesh (`accessLogFile`), which has no name: what Telemetries without providers speak of
  /// where MeshConfig names no default providers.
  static let fileOfTheMesh = ""

  /// The logs of a proxy's listeners.
  static func logs(
    _ mode: Mode, _ snapshot: MeshSnapshot, for node: ProxyNode, _ profile: ClientProfile,
    _ notes: OmissionNotes
  ) -> [Log] {
    let rules = WorkloadTelemetries(of: node.labels, namespace: node.namespace, in: snapshot).rules
    return AccessLogs(settings: snapshot.settings, profile: profile, notes: notes)
      .logs(rules.filter { !$0.spec.accessLogging.isEmpty }, mode)
  }

  private var defaults: [String] {
    // Who is named twice writes once.
    var seen: Set<String> = []
    let named = settings.logProviders.filter { seen.insert($0.lowercased()).inserted }
    return named.isEmpty ? [Self.fileOfTheMesh] : named
  }

  private func logs(_ rules: [Rule<Telemetry>], _ mode: Mode) -> [Log] {
    var verdicts = Self.merge(rules.map(\.spec.accessLogging), mode, defaults: defaults)
    let known = verdicts.keys.filter { isKnown($0, rules) }
    // Where nothing that is said can be done, it is as if nothing were said.
    if known.isEmpty {
      verdicts = Dictionary(
        defaults.map { ($0, .on(nil)) }, uniquingKeysWith: { first, _ in first })
    }
    return verdicts.sorted { $0.key < $1.key }.compactMap { name, verdict in
      guard case .on(let expression) = verdict, let file = file(name) else { return nil }
      var log = Log.with {
        $0.name = "envoy.access_loggers.file"
        $0.typedConfig = file.packed
      }
      if let expression, let filter = filter(expression, rules) { log.filter = filter }
      return log
    }
  }

  // MARK: Merging

  /// What holds for each provider.
  /// - Parameter levels: what the mesh, the namespace and the workload say, in this order.
  static func merge(
    _ levels: [[Entry]], _ mode: Mode, defaults: [String]
  ) -> [String: Verdict] {
    // The providers of the last that names any take the place of all others.
    var names = defaults
    for level in levels {
      let named = level.filter { $0.isFor(mode) }.flatMap(\.providerNames)
      if !named.isEmpty { names = named }
    }
    let counting = Set(names)
    var found: [String: Verdict] = [:]
    var filters: [String: String] = [:]
    var inherited = defaults
    for entry in levels.joined() {
      guard entry.isFor(mode) else { continue }
      let named = entry.providerNames
      if !named.isEmpty { inherited = named }
      for name in inherited where counting.contains(name) {
        // Who names a provider says all of it; who names none changes what he says.
        if entry.hasFilter {
          filters[name] = entry.filter.expression
        } else if !named.isEmpty {
          filters[name] = nil
        }
        found[name] = entry.disabled.value ? .off : .on(filters[name])
      }
    }
    return found
  }

  // MARK: Providers

  /// As in Istio, case does not matter.
  private func provider(_ name: String) -> Provider? {
    settings.extensionProviders.first { $0.name.lowercased() == name.lowercased() }
  }

  private static func isBuiltIn(_ name: String) -> Bool {
    name.lowercased() == MeshSettings.builtInProvider
  }

  /// Whether anything is written by this name; who asks for another is told.
  private func isKnown(_ name: String, _ rules: [Rule<Telemetry>]) -> Bool {
    if name == Self.fileOfTheMesh { return true }
    guard let provider = provider(name) else {
      if Self.isBuiltIn(name) { return true }
      note(
        "accessLogging.providers", rules.naming(name),
        settings.hasProvider(name)
          ? "provider '\(name)' writes no access logs" : "MeshConfig has no provider '\(name)'")
      return false
    }
    if case .envoyFileAccessLog? = provider.provider { return true }
    note("accessLogging.providers", rules.naming(name), "provider '\(name)' writes no access logs")
    return false
  }

  private func note(_ field: String, _ rules: [Rule<Telemetry>], _ effect: String) {
    for rule in rules { notes.note(rule.object.id, field, effect) }
  }

  /// Where a provider writes, and how.
  private func file(_ name: String) -> Envoy_Extensions_AccessLoggers_File_V3_FileAccessLog? {
    let format = AccessLogFormat(settings: settings, profile: profile, notes: notes)
    if name == Self.fileOfTheMesh {
      guard !settings.accessLogFile.isEmpty else { return nil }
      return Self.file(settings.accessLogFile, format.ofTheMesh)
    }
    guard let provider = provider(name) else {
      return Self.isBuiltIn(name) ? Self.file("/dev/stdout", format.ofTheMesh) : nil
    }
    guard case .envoyFileAccessLog(let file)? = provider.provider else { return nil }
    let path = file.path.isEmpty ? "/dev/stdout" : file.path
    // The built-in provider looks as the mesh's file does, unless it says how.
    let isPlain =
      provider.name == MeshSettings.builtInProvider && !file.hasLogFormat && !file.omitEmptyValues
    return Self.file(path, isPlain ? format.ofTheMesh : format.of(file, named: provider.name))
  }

  private static func file(
    _ path: String, _ format: Envoy_Config_Core_V3_SubstitutionFormatString
  ) -> Envoy_Extensions_AccessLoggers_File_V3_FileAccessLog {
    .with {
      $0.path = path
      $0.logFormat = format
    }
  }

  // MARK: Expressions

  private func filter(_ expression: String, _ rules: [Rule<Telemetry>]) -> LogFilter? {
    guard !profile.evaluatesExpressions else {
      let cel = Fairlead_Mesh_Envoy_V1_ExpressionFilter.with { $0.expression = expression }
      return LogFilter().adding(
        Fairlead_Mesh_Envoy_V1_AccessLogFilterMore.with {
          $0.extensionFilter = .with {
            $0.name = "envoy.access_loggers.extension_filters.cel"
            $0.typedConfig = cel.packed(
              as: "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter")
          }
        })
    }
    let substitute = (try? LogExpression(expression)).map { LogSubstitute.of($0) }
    let asking = rules.filter { rule in
      rule.spec.accessLogging.contains { $0.hasFilter && $0.filter.expression == expression }
    }
    if substitute?.isExact != true {
      // Too much is found out about; what is missing would not be.
      note(
        "accessLogging.filter", asking,
        substitute?.filter == nil
          ? "expressions are not evaluated: everything is logged"
          : "the expression is not evaluated in full: more is logged")
    }
    return substitute?.filter
  }
}

/// What a proxy without expressions can choose by: never less than an expression asks for.
struct LogSubstitute {
  typealias LogFilter = Envoy_Config_Accesslog_V3_AccessLogFilter

  /// Nil: everything.
  let filter: LogFilter?
  let isExact: Bool

  private static let everything = LogSubstitute(filter: nil, isExact: false)

  /// Filters within filters: a proxy takes no message that is nested without end.
  private static let levels = 8

  /// Comparisons of the response's status, and what is put together of them: a chain of `||` is one filter
  /// of many.
  static func of(_ expression: LogExpression, levels: Int = levels) -> LogSubstitute {
    guard levels > 0, case .binary(let symbol, let left, let right) = expression else {
      return everything
    }
    switch symbol {
    case "&&":
      let all = expression.operands(of: symbol).map { of($0, levels: levels - 1) }
      let parts = all.compactMap(\.filter)
      guard let first = parts.first else { return everything }
      return LogSubstitute(
        filter: parts.count == 1 ? first : .with { $0.andFilter.filters = parts },
        isExact: all.allSatisfy(\.isExact))
    case "||":
      let all = expression.operands(of: symbol).map { of($0, levels: levels - 1) }
      let parts = all.compactMap(\.filter)
      guard parts.count == all.count else { return everything }
      return LogSubstitute(
        filter: .with { $0.orFilter.filters = parts }, isExact: all.allSatisfy(\.isExact))
    default:
      let code = LogExpression.name(["response", "code"])
      if left == code, case .number(let number) = right { return status(symbol, number) }
      if right == code, case .number(let number) = left {
        let mirrored = ["<": ">", "<=": ">=", ">": "<", ">=": "<="]
        return status(mirrored[symbol] ?? symbol, number)
      }
      return everything
    }
  }

  private static func status(_ symbol: String, _ number: Int64) -> LogSubstitute {
    // Beyond what a status can be, there is nothing to compare.
    guard (1...999).contains(number) else { return everything }
    let value = UInt32(number)
    // A request without a response has no status, and every comparison of none is false; a proxy's own
    // filter takes it for 0.
    let isThere = comparison(.ge, 1)
    let filter: LogFilter
    switch symbol {
    case "==": filter = comparison(.eq, value)
    case ">=": filter = comparison(.ge, value)
    case ">": filter = comparison(.ge, value + 1)
    case "!=": filter = .with { $0.andFilter.filters = [isThere, comparison(.ne, value)] }
    case "<=": filter = .with { $0.andFilter.filters = [isThere, comparison(.le, value)] }
    case "<": filter = .with { $0.andFilter.filters = [isThere, comparison(.le, value - 1)] }
    default: return everything
    }
    return LogSubstitute(filter: filter, isExact: true)
  }

  private static func comparison(
    _ op: Envoy_Config_Accesslog_V3_ComparisonFilter.Op, _ value: UInt32
  ) -> LogFilter {
    .with {
      $0.statusCodeFilter.comparison = .with {
        $0.op = op
        $0.value = .with {
          $0.defaultValue = value
          // Asked for by the API; nobody sets it.
          $0.runtimeKey = "istio.io/unset"
        }
      }
    }
  }
}

extension AccessLogs.Entry {
  fileprivate var providerNames: [String] { providers.map(\.name) }

  fileprivate func isFor(_ side: AccessLogs.Mode) -> Bool {
    switch match.mode {
    case .client: side == .client
    case .server: side == .server
    case .clientAndServer, .UNRECOGNIZED: true
    }
  }
}

extension [Rule<Telemetry>] {
  /// Those that name a provider for access logs.
  fileprivate func naming(_ provider: String) -> [Rule<Telemetry>] {
    filter { $0.spec.accessLogging.contains { $0.providers.contains { $0.name == provider } } }
  }
}
