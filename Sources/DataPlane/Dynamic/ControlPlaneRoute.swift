import Engine
import GRPC
import TLS
import Upstream

/// The way to the control plane: which host of its cluster, and TLS where the cluster speaks it. The
/// main thread's own.
final class ControlPlaneRoute {
  private unowned let server: Server
  private let cluster: String
  private let source: TLSSource?
  /// Counts in the cluster's statistics, and keeps its sessions; nil for plain bytes.
  private let place: Ref<TLSPlace>?
  /// What the host is called that the connection at hand is for.
  private var hostname = Bytes.empty

  init(_ server: Server, to cluster: String, _ config: Ref<ClusterConfig>) {
    self.server = server
    self.cluster = cluster
    source = server.config.tls.source(Int(config.value.security))
    let own = server.loop.mailbox
    place = source?.makePlace(
      server.config.store, main: own, own: own, worker: server.config.store.main)
  }

  deinit { place?.destroy() }

  var isSecured: Bool { place != nil }

  /// Any host of the cluster may do: each attempt asks again.
  func address() -> SocketAddress? {
    guard let hosts = server.clusters?.cluster(named: cluster)?.hosts else { return nil }
    let count = hosts.value.hosts.count
    guard count > 0 else { return nil }
    let index = Int(server.loop.state.value.random.next() % UInt64(count))
    let entry = hosts.value.hosts[index]
    hostname = entry.host.value.hostname
    return entry.addresses.array.first
  }

  /// Puts TLS under a connection to the host that was named last; nil when out of memory.
  func prepare(_ connection: Ref<Connection>) -> RPCTransport? {
    guard let source, let place else { return .plain }
    // Certificates may have changed since the last connection.
    place.value.follow(source.context)
    let secured = SecureHandle.client(
      place, fd: connection.value.fd, hostname: hostname, speaks: .http2)
    guard let secured else { return nil }
    unsafe connection.secure(SecureConnection.transport, context: secured.raw)
    return RPCTransport(failure: { secured.failureText })
  }
}
