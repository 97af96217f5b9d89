import Engine
import HTTPModel
import ResourceModel
import Resources
import Routing
import SwiftProtobuf
import Telemetry
import Upstream

/// Compiles listeners; their connection managers are `ManagerCompiler`'s.
struct ListenerCompiler {
  typealias Listener = Envoy_Config_Listener_V3_Listener

  let context: CompileContext
  /// The filter chains of all listeners so far.
  private(set) var chains: [ChainVersion] = []
  /// The last listener's bound.
  private(set) var bound: ListenerBound?
  /// Chains that need not be compiled again.
  private let known: [[UInt8]: ChainVersion]
  /// Each chain gets memory of its own, so that it can outlast its listener's version.
  private let separatesChains: Bool

  /// - Parameters:
  ///   - replacing: the version before, of which the new one takes over what is the same; nil for none.
  ///   - separatesChains: whether the listeners may be replaced.
  init(
    context: CompileContext, replacing older: OpenListener? = nil, separatesChains: Bool = false
  ) {
    self.context = context
    self.separatesChains = separatesChains
    bound = older?.bound
    known = Dictionary(
      (older?.chains ?? []).map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
  }

  /// Of all chains.
  var managers: [CompiledManager] { chains.compactMap(\.manager) }

  /// nil when it has a mistake, which is in the diagnostics.
  mutating func compile(_ listener: Listener, at path: ConfigPath) -> Ref<ListenerConfig>? {
    guard let address = socketAddress(listener.address, at: path.field("address")) else {
      return nil
    }
    let scope =
      listener.statPrefix.isEmpty ? Self.statName(address.description) : listener.statPrefix
    let limit =
      listener.hasPerConnectionBufferLimitBytes
      ? Int(listener.perConnectionBufferLimitBytes.value) : Defaults.connectionBufferLimitBytes
    guard
      let chains = compileChains(
        listener, at: path, scope: "listener.\(scope).", bufferLimit: limit)
    else { return nil }
    return .configured(
      ListenerConfig(
        name: .configured(listener.name.isEmpty ? address.description : listener.name),
        address: address,
        isWildcard: address.isWildcard || (!address.isUnix && address.port == 0)
          || listener.transparent.value,
        options: options(listener, at: path), bufferLimit: limit,
        filters: .configured(
          ListenerFilterCompiler(context: context).compile(listener, at: path)),
        filtersTimeout: listener.hasListenerFiltersTimeout
          ? listener.listenerFiltersTimeout.milliseconds
          : Defaults.listenerFiltersTimeout.wholeMilliseconds,
        continuesOnTimeout: listener.continueOnListenerFiltersTimeout, chains: chains,
        bindsToPort: listener.bindsToPort,
        usesOriginalDestination: listener.useOriginalDst.value,
        isInbound: listener.trafficDirection == .inbound,
        acceptsPerTurn: listener.hasMaxConnectionsToAcceptPerSocketEvent
          ? Int(clamping: listener.maxConnectionsToAcceptPerSocketEvent.value)
          : Defaults.acceptsPerTurn,
        bound: makeBound(listener), ignoresGlobalBound: listener.ignoreGlobalConnLimit,
        stats: .configured(ListenerStats(scope: "listener.\(scope).", in: context.store)),
        accessLogs: .configured(
          AccessLogCompiler(context: context).compile(
            listener.accessLog, at: path.field("access_log")))))
  }

  /// `envoy.resource_limits.listener.<name>.connection_limit` of the runtime.
  private mutating func makeBound(_ listener: Listener) -> ConnectionBound {
    if let bound {
      ResourceMemory.keep(bound)
      return bound.bound
    }
    let key = "envoy.resource_limits.listener.\(listener.name).connection_limit"
    let limit = context.layers.numbers[key].flatMap { $0 >= 0 ? UInt64(min($0, 1e18)) : nil }
    // One of the static configuration lasts as long as the process.
    guard separatesChains else { return ConnectionBound(limit: limit ?? .max) }
    let made = ListenerBound(limit: limit ?? .max)
    ResourceMemory.keep(made)
    bound = made
    return made.bound
  }

  private mutating func compileChains(
    _ listener: Listener, at path: ConfigPath, scope: String, bufferLimit: Int
  ) -> ChainMatcher? {
    var candidates: [ChainMatcherCompiler.Candidate] = []
    for (index, chain) in listener.filterChains.enumerated() {
      let place = path.field("filter_chains").index(index)
      guard let compiled = compile(chain, at: place, scope: scope, bufferLimit: bufferLimit) else {
        return nil
      }
      candidates.append(.init(match: chain.filterChainMatch, chain: compiled, path: place))
    }
    var fallback: Ref<NetworkChain>?
    if listener.hasDefaultFilterChain {
      fallback = compile(
        listener.defaultFilterChain, at: path.field("default_filter_chain"), scope: scope,
        bufferLimit: bufferLimit)
    }
    return ChainMatcherCompiler(diagnostics: context.diagnostics).compile(
      candidates, fallback: fallback)
  }

  private mutating func compile(
    _ chain: NetworkChainCompiler.Chain, at path: ConfigPath, scope: String, bufferLimit: Int
  ) -> Ref<NetworkChain>? {
    let key = separatesChains ? chain.key : []
    if let version = known[key] {
      chains.append(version)
      return version.chain
    }
    let compiler = NetworkChainCompiler(
      context: context, scope: scope, bufferLimit: bufferLimit)
    let memory = separatesChains ? ResourceMemory() : nil
    let compile = { compiler.compile(chain, at: path) }
    guard let result = memory.map({ $0.whileOpen(compile) }) ?? compile() else { return nil }
    chains.append(ChainVersion(key, result.chain, result.manager, in: memory))
    return result.chain
  }

  private func options(_ listener: Listener, at path: ConfigPath) -> ListenSocket.Options {
    var options = ListenSocket.Options()
    options.backlog =
      listener.hasTcpBacklogSize
      ? Int32(clamping: listener.tcpBacklogSize.value) : Defaults.tcpBacklogSize
    options.unixMode = listener.address.pipe.mode
    options.reusePort = !listener.hasEnableReusePort || listener.enableReusePort.value
    options.transparent = listener.transparent.value
    options.freebind = listener.freebind.value
    options.more = SocketOptionCompiler(diagnostics: context.diagnostics)
      .compile(listener.socketOptions, at: path.field("socket_options"))
    return options
  }

  /// Colons would end a statistic's name.
  private static func statName(_ text: String) -> String {
    String(text.map { $0 == ":" ? "_" : $0 })
  }

  func socketAddress(
    _ address: Envoy_Config_Core_V3_Address, at path: ConfigPath
  ) -> SocketAddress? {
    switch address.address {
    case .socketAddress(let socket):
      let port = UInt16(truncatingIfNeeded: socket.portValue)
      if let parsed = SocketAddress(ip: socket.address, port: port) { return parsed }
      let place = path.field("socket_address").field("address")
      guard !context.diagnostics.hasError(at: place) else { return nil }
      context.diagnostics.error(
        at: place,
        "a listener needs an IP address; '\(socket.address)' is not one")
    case .pipe(let pipe):
      if let parsed = SocketAddress(unixPath: pipe.path) { return parsed }
      context.diagnostics.error(
        at: path.field("pipe").field("path"),
        "the path of a Unix socket has 1 to 107 bytes; this one has \(pipe.path.utf8.count)")
    case nil: break
    }
    return nil
  }

  /// For requests of our own: no filters, no routes of the configuration, no logs.
  func makeCallManager() -> Ref<ConnectionManager> {
    var message = ManagerCompiler.Message()
    message.statPrefix = "async-client"
    return ManagerCompiler(
      context: context, index: -1, bufferLimit: Defaults.connectionBufferLimitBytes
    ).bare(message)
  }
}

extension Envoy_Config_Listener_V3_Listener {
  /// False: the listener only takes connections that others hand to it.
  var bindsToPort: Bool {
    if hasBindToPort { return bindToPort.value }
    return !deprecatedV1.hasBindToPort || deprecatedV1.bindToPort.value
  }
}
