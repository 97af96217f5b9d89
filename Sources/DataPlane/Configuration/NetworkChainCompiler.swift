import Engine
import ResourceModel
import Resources
import Routing
import SwiftProtobuf
import Telemetry

/// Compiles one filter chain of a listener: its last network filter, and those in front of it.
struct NetworkChainCompiler {
  typealias Chain = Envoy_Config_Listener_V3_FilterChain
  private typealias Proxy = Envoy_Extensions_Filters_Network_TcpProxy_V3_TcpProxy
  private typealias Limit = Envoy_Extensions_Filters_Network_ConnectionLimit_V3_ConnectionLimit
  private typealias Response = Envoy_Extensions_Filters_Network_DirectResponse_V3_Config

  /// What came of it: a connection manager has filters that each worker makes places for.
  struct Result {
    let chain: Ref<NetworkChain>
    let manager: CompiledManager?
  }

  let context: CompileContext
  /// `listener.<address>.`
  let scope: String
  let bufferLimit: Int
  /// How many connection managers there are already.
  let managerCount: Int

  func compile(_ chain: Chain, at path: ConfigPath) -> Result? {
    guard let last = chain.filters.last else { return nil }
    let filters = path.field("filters")
    let place = filters.index(chain.filters.count - 1).field("typed_config")
    let others = chain.filters.dropLast()
    guard let (terminal, manager) = terminal(last, behind: others, at: place) else { return nil }
    return Result(
      chain: .configured(
        NetworkChain(
          name: .configured(chain.name),
          security: TransportSocketCompiler(
            diagnostics: context.diagnostics, store: context.store, sources: context.tls
          ).compile(chain, scope: scope, at: path),
          filters: NetworkFilters(all: .configured(others.compactMap(compile))),
          terminal: terminal)),
      manager: manager)
  }

  private func compile(_ filter: Envoy_Config_Listener_V3_Filter) -> NetworkFilter? {
    guard NetworkFilterType(filter) == .connectionLimit,
      let message = try? Limit(serializedBytes: filter.typedConfig.value)
    else { return nil }
    return .connectionLimit(
      .configured(
        NetworkFilter.ConnectionLimit(
          limit: message.maxConnections.value, delay: message.delay.milliseconds,
          prefix: message.statPrefix, in: context.store)))
  }

  private func terminal(
    _ filter: Envoy_Config_Listener_V3_Filter,
    behind others: ArraySlice<Envoy_Config_Listener_V3_Filter>, at path: ConfigPath
  ) -> (NetworkChain.Terminal, CompiledManager?)? {
    let bytes = filter.typedConfig.value
    switch NetworkFilterType(filter) {
    case .connectionManager:
      guard let message = try? ManagerCompiler.Message(serializedBytes: bytes) else { return nil }
      let compiled = ManagerCompiler(
        context: context, index: managerCount, bufferLimit: bufferLimit
      ).compile(message, at: path)
      let stats = ListenerHTTPStats(
        scope: scope, managerPrefix: message.statPrefix, in: context.store)
      return (
        .http(HTTPTerminal(manager: compiled.manager, stats: .configured(stats))), compiled
      )
    case .tcpProxy:
      guard let message = try? Proxy(serializedBytes: bytes) else { return nil }
      let takesName = others.contains { NetworkFilterType($0) == .sniCluster }
      return (.tcp(.configured(proxy(message, takesName: takesName, at: path))), nil)
    case .echo: return (.echo, nil)
    case .directResponse:
      guard let message = try? Response(serializedBytes: bytes),
        let text = DataSourceReader.read(
          message.response, atMost: Defaults.directResponseBytes, at: path.field("response"),
          context.diagnostics)
      else { return nil }
      return (.directResponse(.configured(text)), nil)
    case .sniCluster, .connectionLimit, nil: return nil
    }
  }

  private func proxy(_ message: Proxy, takesName: Bool, at path: ConfigPath) -> TCPProxy {
    TCPProxy(
      clusters: clusters(message),
      idleTimeout: message.hasIdleTimeout
        ? message.idleTimeout.milliseconds
        : UInt64(Defaults.tcpIdleTimeout.components.seconds) * 1000,
      maxDuration: message.maxDownstreamConnectionDuration.milliseconds,
      maxConnectAttempts: message.hasMaxConnectAttempts
        ? message.maxConnectAttempts.value : Defaults.maxConnectAttempts,
      takesClusterFromServerName: takesName,
      accessLogs: .configured(
        AccessLogCompiler(context: context).compile(
          message.accessLog, at: path.field("access_log"))),
      stats: .configured(TCPProxy.Stats(prefix: message.statPrefix, in: context.store)))
  }

  private func clusters(_ message: Proxy) -> TCPProxy.Clusters {
    guard case .weightedClusters(let weighted) = message.clusterSpecifier else {
      return .one(.configured(message.cluster))
    }
    var bound: UInt64 = 0
    let all = weighted.clusters.map { one in
      bound += UInt64(one.weight)
      return TCPProxy.Weighted(name: .configured(one.name), bound: bound)
    }
    return .weighted(.configured(all), total: bound)
  }
}

/// The network filters that a chain may hold.
enum NetworkFilterType: String {
  case connectionManager =
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
  case tcpProxy = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
  case sniCluster = "envoy.extensions.filters.network.sni_cluster.v3.SniCluster"
  case connectionLimit = "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit"
  case echo = "envoy.extensions.filters.network.echo.v3.Echo"
  case directResponse = "envoy.extensions.filters.network.direct_response.v3.Config"

  /// nil for a type that is not among them, which has been reported.
  init?(_ filter: Envoy_Config_Listener_V3_Filter) {
    self.init(rawValue: FilterRegistry.typeName(of: filter.typedConfig.typeURL))
  }
}
