import Engine
import HTTPModel
import ResourceModel
import Resources
import SwiftProtobuf
import Telemetry

/// What a route configuration is compiled against.
// SAFETY: what `filterConfig` returns is kept for the module that made it, and never read here.
@safe
package struct RouteTableOptions {
  /// A cluster's place in the caller's table; nil when there is no such cluster.
  package var cluster: (String) -> UInt32?
  /// The names of the chain's HTTP filters, in order: their positions are the slots of
  /// `RouteMatch.filterConfig`.
  package var filterNames: [String]
  /// Has the filter of this name check and keep a `typed_per_filter_config`. Mistakes are the
  /// callee's to report.
  package var filterConfig: (String, ConfigPath, Google_Protobuf_Any) -> UnsafeRawPointer?
  package var runtime: RuntimeSnapshot
  /// The router's `respect_expected_rq_timeout`.
  package var respectsExpectedTimeout: Bool
  /// The router's `suppress_envoy_headers`.
  package var suppressesEnvoyHeaders: Bool

  package init(
    cluster: @escaping (String) -> UInt32?, filterNames: [String] = [],
    filterConfig: @escaping (String, ConfigPath, Google_Protobuf_Any) -> UnsafeRawPointer? = {
      _, _, _ in nil
    },
    runtime: RuntimeSnapshot = RuntimeSnapshot(), respectsExpectedTimeout: Bool = false,
    suppressesEnvoyHeaders: Bool = false
  ) {
    self.cluster = cluster
    self.filterNames = filterNames
    unsafe self.filterConfig = unsafe filterConfig
    self.runtime = runtime
    self.respectsExpectedTimeout = respectsExpectedTimeout
    self.suppressesEnvoyHeaders = suppressesEnvoyHeaders
  }
}

/// Compiles route configurations. What no single field shows has been checked before
/// (`BootstrapValidator`); here come the mistakes that only compiling finds.
final class RouteCompiler {
  let options: RouteTableOptions
  let diagnostics: Diagnostics
  private let configuration: Envoy_Config_Route_V3_RouteConfiguration
  private let path: ConfigPath

  init(
    _ configuration: Envoy_Config_Route_V3_RouteConfiguration, at path: ConfigPath,
    _ options: RouteTableOptions, _ diagnostics: Diagnostics
  ) {
    self.configuration = configuration
    self.path = path
    self.options = options
    self.diagnostics = diagnostics
  }

  /// The table; not fit for use when errors were reported.
  func compile() -> RouteTable {
    let mutations = levelMutations(
      configuration.requestHeadersToAdd, configuration.requestHeadersToRemove,
      configuration.responseHeadersToAdd, configuration.responseHeadersToRemove, at: path)
    let hostsPath = path.field("virtual_hosts")
    var domains: [(key: String, value: UInt32)] = []
    var hosts: [RouteTable.Host] = []
    for (position, host) in configuration.virtualHosts.enumerated() {
      domains += host.domains.map { ($0, UInt32(position)) }
      hosts.append(compile(host, at: hostsPath.index(position), inheriting: mutations))
    }
    return RouteTable(
      RouteTable.Root(
        name: .configured(configuration.name),
        index: VirtualHostIndex(domains, ignoresPort: configuration.ignorePortInHostMatching),
        hosts: Table.configured(hosts),
        ignoresPathParameters: configuration.ignorePathParametersInPathMatching,
        recordsOriginals: !options.suppressesEnvoyHeaders,
        internalOnlyHeaders: Table.configured(
          configuration.internalOnlyHeaders.map(HeaderName.init)),
        filters: filterConfigs(configuration.typedPerFilterConfig, at: path)))
  }

  // MARK: Virtual hosts and routes

  /// The changes of one level to the two heads.
  struct LevelMutations {
    var request: HeaderMutations
    var response: HeaderMutations
  }

  private func compile(
    _ host: Envoy_Config_Route_V3_VirtualHost, at path: ConfigPath,
    inheriting outer: LevelMutations
  ) -> RouteTable.Host {
    let mutations = levelMutations(
      host.requestHeadersToAdd, host.requestHeadersToRemove, host.responseHeadersToAdd,
      host.responseHeadersToRemove, at: path)
    let virtualHost = Ref.configured(
      VirtualHost(
        name: .configured(host.name), tlsRequirement: tlsRequirement(host.requireTls),
        includesAttemptCount: host.includeRequestAttemptCount,
        includesAttemptCountInResponse: host.includeAttemptCountInResponse,
        includesIsTimeoutRetry: host.includeIsTimeoutRetryHeader,
        filters: filterConfigs(host.typedPerFilterConfig, at: path)))
    let actions = ActionCompiler(
      context: self, host: host, hostPath: path, configuration: configuration,
      configurationPath: self.path)
    let routesPath = path.field("routes")
    var entries: [RouteEntry] = []
    for (position, route) in host.routes.enumerated() {
      let path = routesPath.index(position)
      let conditions = RouteConditions(route.match, at: path.field("match"), self)
      let action = actions.compile(route, at: path)
      guard let conditions, let action else { continue }
      let own = levelMutations(
        route.requestHeadersToAdd, route.requestHeadersToRemove, route.responseHeadersToAdd,
        route.responseHeadersToRemove, at: path)
      entries.append(
        RouteEntry(
          name: .configured(route.name), virtualHost: virtualHost, action: action,
          bodyBufferLimit: bodyBufferLimit(route, host), conditions: conditions,
          requestMutations: inOrder([own.request, mutations.request, outer.request]),
          responseMutations: inOrder([own.response, mutations.response, outer.response]),
          filters: filterConfigs(route.typedPerFilterConfig, at: path)))
    }
    let patterns = entries.map { ($0.conditions.pattern, $0.conditions.isCaseSensitive) }
    return RouteTable.Host(
      virtualHost: virtualHost, index: RouteIndex(patterns),
      routes: Table.configured(entries))
  }

  /// From the most specific level to the least, so that the least specific has the last word,
  /// unless `most_specific_header_mutations_wins`.
  private func inOrder(_ levels: [HeaderMutations]) -> Table<HeaderMutations> {
    let used = levels.filter { !$0.isEmpty }
    return Table.configured(configuration.mostSpecificHeaderMutationsWins ? used.reversed() : used)
  }

  private func tlsRequirement(
    _ requirement: Envoy_Config_Route_V3_VirtualHost.TlsRequirementType
  ) -> VirtualHost.TLSRequirement {
    switch requirement {
    case .all: .all
    case .externalOnly: .external
    case .none, .UNRECOGNIZED: .none
    }
  }

  private func bodyBufferLimit(
    _ route: Envoy_Config_Route_V3_Route, _ host: Envoy_Config_Route_V3_VirtualHost
  ) -> UInt64? {
    if route.hasRequestBodyBufferLimit { return route.requestBodyBufferLimit.value }
    if route.hasPerRequestBufferLimitBytes {
      return UInt64(route.perRequestBufferLimitBytes.value)
    }
    if host.hasRequestBodyBufferLimit { return host.requestBodyBufferLimit.value }
    return host.hasPerRequestBufferLimitBytes ? UInt64(host.perRequestBufferLimitBytes.value) : nil
  }

  // MARK: What every level has

  /// The header changes of one level.
  func levelMutations(
    _ requestAdded: [Envoy_Config_Core_V3_HeaderValueOption], _ requestRemoved: [String],
    _ responseAdded: [Envoy_Config_Core_V3_HeaderValueOption], _ responseRemoved: [String],
    at path: ConfigPath
  ) -> LevelMutations {
    LevelMutations(
      request: HeaderMutations(
        adding: requestAdded, removing: requestRemoved, of: .request, at: path, prefix: "request",
        diagnostics),
      response: HeaderMutations(
        adding: responseAdded, removing: responseRemoved, of: .response, at: path,
        prefix: "response", diagnostics))
  }

  /// The filters' configurations of one level.
  func filterConfigs(
    _ configs: [String: Google_Protobuf_Any], at path: ConfigPath
  ) -> FilterConfigs {
    guard !configs.isEmpty else { return FilterConfigs([]) }
    var slots = [FilterConfigs.Slot](
      repeating: FilterConfigs.Slot(), count: options.filterNames.count)
    for (name, any) in configs.sorted(by: { $0.key < $1.key }) {
      guard let slot = options.filterNames.firstIndex(of: name) else { continue }
      let place = path.field("typed_per_filter_config").key(name)
      slots[slot] = filterConfig(name, any, at: place)
    }
    return FilterConfigs(slots)
  }

  private func filterConfig(
    _ name: String, _ any: Google_Protobuf_Any, at path: ConfigPath
  ) -> FilterConfigs.Slot {
    var slot = unsafe FilterConfigs.Slot(isPresent: true)
    guard any.isA(Envoy_Config_Route_V3_FilterConfig.self) else {
      unsafe slot.config = unsafe options.filterConfig(name, path, any)
      return slot
    }
    do {
      let wrapper = try Envoy_Config_Route_V3_FilterConfig(unpackingAny: any)
      slot.isDisabled = wrapper.disabled
      if wrapper.hasConfig, !wrapper.config.typeURL.isEmpty {
        unsafe slot.config = unsafe options.filterConfig(
          name, path.field("config"), wrapper.config)
      }
    } catch {
      diagnostics.error(at: path, "not a FilterConfig: \(error)")
    }
    return slot
  }
}
