import CFilterABI
import Engine
import ResourceModel
import Resources
import Routing
import Telemetry
import Upstream

/// A whole configuration, compiled: what the server starts from.
package struct ServerConfig {
  package let bootstrap: Envoy_Config_Bootstrap_V3_Bootstrap
  /// The same, typed, as `/config_dump` shows it.
  let tree: ConfigTree
  package let store: StatsStore
  let clusters: [StaticCluster]
  /// Nil when the bootstrap names none.
  let controlPlane: ControlPlaneConfig?
  let listeners: [Ref<ListenerConfig>]
  /// The filter chains of each listener.
  let chains: [[ChainVersion]]
  let managers: [CompiledManager]
  let runtime: RuntimeBuilder
  let layers: RuntimeLayers
  /// What resources that come later are compiled with.
  let context: CompileContext
  let callManager: Ref<ConnectionManager>
  let logWriter: LogWriter?
  let tls: TLSSources
  let overload: OverloadConfig
  /// How the application behind the proxy is checked; nil where nobody asks for that.
  let readiness: ReadinessProbe?
  /// The most fields that any listener or cluster allows in a head.
  let maxFields: Int
}

/// A cluster of the bootstrap.
struct StaticCluster {
  let message: Envoy_Config_Cluster_V3_Cluster
  let compiled: CompiledCluster
}

/// A connection manager, and what the main thread needs for it: to make its filters' places on
/// workers, and its route table.
struct CompiledManager {
  /// Where its routes come from.
  enum Routes {
    case fixed(RouteTable)
    case discovered(name: String, Envoy_Config_Core_V3_ConfigSource)
  }

  let manager: Ref<ConnectionManager>
  let filters: [LoadedFilter]
  let routes: Routes
  let compiler: RouteTableCompiler
  /// What it is laid out in; nil for the static configuration's.
  var memory: ResourceMemory?

  /// Its place among all connection managers.
  var place: Int { manager.value.index }
}

/// What the compilers of one configuration share.
final class CompileContext {
  let tree: ConfigTree
  let diagnostics: Diagnostics
  let store: StatsStore
  let registry: FilterRegistry
  let runtime: RuntimeBuilder
  let layers: RuntimeLayers
  let places: ClusterPlaces
  /// Of connection managers.
  let managerPlaces: PlaceNumbers
  /// Of filters whose configuration comes by itself.
  let filterPlaces: PlaceNumbers
  let tls: TLSSources
  let connectionBuckets: ConnectionBuckets
  let node: Envoy_Config_Core_V3_Node
  let streams: StreamSources
  /// The cluster manager's, for clusters that have none of their own.
  let bindConfig: Envoy_Config_Core_V3_BindConfig?
  /// Nil while a configuration is only validated.
  let logWriter: LogWriter?
  private var loads: [FilterLoad] = []

  init(
    _ loaded: LoadedBootstrap, store: StatsStore, registry: FilterRegistry,
    places: ClusterPlaces, tls: TLSSources, logWriter: LogWriter?
  ) {
    self.tls = tls
    self.logWriter = logWriter
    tree = loaded.tree
    diagnostics = loaded.diagnostics
    self.store = store
    self.registry = registry
    layers = RuntimeLayers(loaded.bootstrap.layeredRuntime)
    runtime = RuntimeBuilder(values: layers.numbers)
    self.places = places
    managerPlaces = PlaceNumbers()
    filterPlaces = PlaceNumbers()
    connectionBuckets = ConnectionBuckets()
    node = loaded.bootstrap.node
    streams = StreamSources(loaded.bootstrap)
    let manager = loaded.bootstrap.clusterManager
    bindConfig = manager.hasUpstreamBindConfig ? manager.upstreamBindConfig : nil
  }

  /// The same for a resource that has come by itself.
  init(_ base: CompileContext, tree: ConfigTree, diagnostics: Diagnostics) {
    self.tree = tree
    self.diagnostics = diagnostics
    store = base.store
    registry = base.registry
    runtime = base.runtime
    layers = base.layers
    places = base.places
    managerPlaces = base.managerPlaces
    filterPlaces = base.filterPlaces
    connectionBuckets = base.connectionBuckets
    tls = base.tls
    node = base.node
    streams = base.streams
    bindConfig = base.bindConfig
    logWriter = base.logWriter
  }

  /// A filter may hold on to its loading context's handle for as long as the configuration lives.
  func keep(_ load: FilterLoad) { loads.append(load) }
}

extension ServerConfig {
  /// Compiles what the loader has read; nil when there are errors, all of which are in the
  /// diagnostics.
  package static func compile(
    _ loaded: LoadedBootstrap, registry: FilterRegistry, opensLogs: Bool
  ) -> ServerConfig? {
    let bootstrap = loaded.bootstrap
    let resources = ConfigPath.root.field("static_resources")
    let store = StatsStore(options: statsOptions(bootstrap.statsConfig, loaded.diagnostics))
    let writer = opensLogs ? makeWriter(store, loaded.diagnostics) : nil
    let context = CompileContext(
      loaded, store: store, registry: registry, places: ClusterPlaces(), tls: TLSSources(),
      logWriter: writer)
    context.tls.statics = SecretCompiler(diagnostics: loaded.diagnostics).compile(
      bootstrap.staticResources.secrets, at: resources.field("secrets"))
    let clusters = bootstrap.staticResources.clusters.enumerated().map { index, cluster in
      StaticCluster(
        message: cluster,
        compiled: ClusterResourceCompiler(context: context).compile(
          cluster, at: resources.field("clusters").index(index)))
    }
    checkSources(bootstrap.dynamicResources, context)
    var compiler = ListenerCompiler(context: context)
    var listeners: [Ref<ListenerConfig>] = []
    var chains: [[ChainVersion]] = []
    for (index, listener) in bootstrap.staticResources.listeners.enumerated() {
      let before = compiler.chains.count
      if let one = compiler.compile(listener, at: resources.field("listeners").index(index)) {
        listeners.append(one)
        chains.append(Array(compiler.chains[before...]))
      }
    }
    // Last, when every cluster and everything that asks for a stream has been seen.
    context.streams.clusters = clusters
    let controlPlane = context.streams.compile(bootstrap.dynamicResources, context)
    let overload = OverloadCompiler(
      diagnostics: loaded.diagnostics, layers: context.layers
    ).compile(bootstrap.overloadManager)
    let readiness = ReadinessProbeCompiler(context: context).compile(
      bootstrap.node, hasControlPlane: bootstrap.dynamicResources.hasAdsConfig)
    let callManager = compiler.makeCallManager()
    guard !loaded.diagnostics.hasErrors else { return nil }
    let fields =
      compiler.managers.map { $0.manager.value.maxFields }
      + clusters.map { $0.compiled.config.value.http.maxResponseHeaders }
    return ServerConfig(
      bootstrap: bootstrap, tree: loaded.tree, store: store, clusters: clusters,
      controlPlane: controlPlane, listeners: listeners, chains: chains, managers: compiler.managers,
      runtime: context.runtime,
      layers: context.layers, context: context,
      callManager: callManager, logWriter: writer, tls: context.tls, overload: overload,
      readiness: readiness,
      maxFields: max(fields.max() ?? 100, 100))
  }

  private static func checkSources(
    _ sources: Envoy_Config_Bootstrap_V3_Bootstrap.DynamicResources, _ context: CompileContext
  ) {
    let path = ConfigPath.root.field("dynamic_resources")
    func check(_ source: Envoy_Config_Core_V3_ConfigSource, at path: ConfigPath) {
      context.streams.check(source, at: path, context.diagnostics)
    }
    if sources.hasCdsConfig { check(sources.cdsConfig, at: path.field("cds_config")) }
    if sources.hasLdsConfig { check(sources.ldsConfig, at: path.field("lds_config")) }
  }

  private static func makeWriter(
    _ store: StatsStore, _ diagnostics: Diagnostics
  ) -> LogWriter? {
    do throws(LogOpenError) {
      return try LogWriter(store) { ProcessLog.shared.log(.warning, .file, $0) }
    } catch {
      diagnostics.error(at: .root, error.description)
      return nil
    }
  }

  /// `stats_config`.
  private static func statsOptions(
    _ message: Envoy_Config_Metrics_V3_StatsConfig, _ diagnostics: Diagnostics
  ) -> StatsOptions {
    var options = StatsOptions()
    let path = ConfigPath.root.field("stats_config").field("histogram_bucket_settings")
    for (index, setting) in message.histogramBucketSettings.enumerated() {
      guard
        let matcher = StringMatcher(
          setting.match, at: path.index(index).field("match"), diagnostics)
      else { continue }
      options.histogramBounds.append(
        .init(
          matches: { name in Bytes.with(name) { matcher.matches($0) } }, bounds: setting.buckets))
    }
    return options
  }
}
