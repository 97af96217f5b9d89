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
  private typealias RateLimit =
    Envoy_Extensions_Filters_Network_LocalRatelimit_V3_LocalRateLimit
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
          security: TransportSocketCompiler(context).compile(chain, scope: scope, at: path),
          filters: NetworkFilters(
            others.indices.compactMap { compile(others[$0], at: filters.index($0)) }),
          terminal: terminal)),
      manager: manager)
  }

  private func compile(
    _ filter: Envoy_Config_Listener_V3_Filter, at path: ConfigPath
  ) -> NetworkFilter? {
    let bytes = filter.typedConfig.value
    switch NetworkFilterType(filter) {
    case .connectionLimit:
      guard let message = try? Limit(serializedBytes: bytes), isOn(message.runtimeEnabled) else {
        return nil
      }
      let limit = NetworkFilter.ConnectionLimit(
        limit: message.maxConnections.value, delay: message.delay.milliseconds,
        prefix: message.statPrefix, in: context.store)
      ResourceMemory.atEnd { limit.open.deallocate() }
      return .connectionLimit(.configured(limit))
    case .rateLimit:
      guard let message = try? RateLimit(serializedBytes: bytes) else { return nil }
      guard message.tokenBucket.fillInterval.milliseconds >= ConnectionBuckets.leastInterval else {
        context.diagnostics.error(
          at: path.field("typed_config").field("token_bucket").field("fill_interval"),
          "expected at least \(ConnectionBuckets.leastInterval)ms")
        return nil
      }
      guard isOn(message.runtimeEnabled) else { return nil }
      return .rateLimit(
        .configured(
          NetworkFilter.RateLimit(
            context.connectionBuckets.bucket(message), prefix: message.statPrefix,
            in: context.store)))
    case .access:
      guard let message = try? AccessFilterCompiler.Message(serializedBytes: bytes) else {
        return nil
      }
      let compiler = AccessFilterCompiler(context: context)
      return .access(.configured(compiler.compile(message, at: path.field("typed_config"))))
    default: return nil
    }
  }

  /// The runtime key's word, or else the default, which is yes.
  private func isOn(_ flag: Envoy_Config_Core_V3_RuntimeFeatureFlag) -> Bool {
    let fallback = !flag.hasDefaultValue || flag.defaultValue.value
    return context.layers.numbers[flag.runtimeKey].map { $0 != 0 } ?? fallback
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
        context: context, index: context.managerPlaces.takeForResource(), bufferLimit: bufferLimit
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
    case .sniCluster, .connectionLimit, .rateLimit, .access, nil: return nil
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

/// The buckets of network rate limits. Filters with one `share_key`, and the same numbers, draw from
/// one bucket.
final class ConnectionBuckets {
  private var shared: [String: Ref<ConnectionBucket>] = [:]

  /// Milliseconds; Envoy's bound.
  static let leastInterval: UInt64 = 50

  /// The bucket for a filter.
  func bucket(
    _ message: Envoy_Extensions_Filters_Network_LocalRatelimit_V3_LocalRateLimit
  ) -> Ref<ConnectionBucket> {
    let numbers = message.tokenBucket
    let tokensPerFill = numbers.hasTokensPerFill ? numbers.tokensPerFill.value : 1
    let interval = numbers.fillInterval.milliseconds &* 1_000_000
    let key = "\(numbers.maxTokens) \(tokensPerFill) \(interval) \(message.shareKey)"
    if let existing = shared[key] { return existing }
    let bucket = ConnectionBucket(
      maxTokens: numbers.maxTokens, tokensPerFill: tokensPerFill, interval: interval)
    guard !message.shareKey.isEmpty else { return .configured(bucket) }
    // One listener's filter may outlast the other's.
    let lasting = Ref<ConnectionBucket>.immortal(bucket)
    shared[key] = lasting
    return lasting
  }
}

/// The network filters that a chain may hold.
enum NetworkFilterType: String {
  case connectionManager =
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
  case tcpProxy = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
  case sniCluster = "envoy.extensions.filters.network.sni_cluster.v3.SniCluster"
  case connectionLimit = "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit"
  case rateLimit = "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit"
  case access = "envoy.extensions.filters.network.rbac.v3.RBAC"
  case echo = "envoy.extensions.filters.network.echo.v3.Echo"
  case directResponse = "envoy.extensions.filters.network.direct_response.v3.Config"

  /// nil for a type that is not among them, which has been reported.
  init?(_ filter: Envoy_Config_Listener_V3_Filter) {
    self.init(rawValue: FilterRegistry.typeName(of: filter.typedConfig.typeURL))
  }
}
