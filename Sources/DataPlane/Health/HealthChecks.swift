import Engine
import GRPC
import Telemetry
import Upstream

/// The active health checks of all clusters that have some. They run on the main thread, and workers
/// see what comes of them in the hosts that are published.
final class HealthChecks {
  let store: StatsStore
  let rpc: RPCRuntime
  private let sources: TLSSources
  /// By the numbers of their hosts.
  private var sessions: [UInt32: HealthCheckSession] = [:]

  init(_ config: ServerConfig, on loop: EventLoop) {
    store = config.store
    sources = config.tls
    rpc = RPCRuntime(loop: loop)
  }

  /// What checks a cluster's hosts; nil where the configuration asks for no checks.
  func checker(of cluster: ActiveCluster) -> ClusterHealthChecks? {
    guard let check = cluster.config.value.healthCheck else { return nil }
    return ClusterHealthChecks(cluster, check, of: self)
  }

  /// A response of this host asked that it get no more requests.
  func failedPassively(host id: UInt32) { sessions[id]?.failedPassively() }

  // MARK: For the clusters

  func add(_ session: HealthCheckSession) { sessions[session.hostID] = session }

  func forget(_ session: HealthCheckSession) { sessions[session.hostID] = nil }

  func tlsSource(of config: Ref<ClusterConfig>) -> TLSSource? {
    sources.source(Int(config.value.security))
  }

  func makePlace(for source: TLSSource) -> Ref<TLSPlace> {
    source.makePlace(
      store, main: rpc.loop.mailbox, own: rpc.loop.mailbox, worker: store.main)
  }
}
