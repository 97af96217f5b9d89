import Engine
import GRPC
import TLS
import Upstream

/// The way to the control plane: which host of its cluster, and TLS where the cluster speaks it. The
/// main thread's own.
final class ControlPlaneRoute {
  private unowned let server: Server
  private let cluster: String
  private let config: Ref<ClusterConfig>
  private var securities: [Int32: Security] = [:]
  /// What the host is called that the connection at hand is for, and the number of its TLS.
  private var hostname = Bytes.empty
  private var security: Int32 = -1

  /// The TLS of some hosts; the place counts in the cluster's statistics, and keeps its sessions.
  private struct Security {
    let source: TLSSource
    let place: Ref<TLSPlace>
  }

  init(_ server: Server, to cluster: String, _ config: Ref<ClusterConfig>) {
    self.server = server
    self.cluster = cluster
    self.config = config
    let own = server.loop.mailbox
    for number in config.value.securities {
      guard let source = server.config.tls.source(Int(number)) else { continue }
      let place = source.makePlace(
        server.config.store, main: own, own: own, worker: server.config.store.main)
      securities[number] = Security(source: source, place: place)
    }
  }

  deinit { for one in securities.values { one.place.destroy() } }

  var isSecured: Bool { !securities.isEmpty }

  /// Any host of the cluster may do: each attempt asks again.
  func address() -> SocketAddress? {
    guard let hosts = server.clusters?.cluster(named: cluster)?.hosts else { return nil }
    let count = hosts.value.hosts.count
    guard count > 0 else { return nil }
    let index = Int(server.loop.state.value.random.next() % UInt64(count))
    let entry = hosts.value.hosts[index]
    hostname = entry.host.value.hostname
    security = config.value.security(of: entry.endpoint)
    return entry.addresses.array.first
  }

  /// Puts TLS under a connection to the host that was named last; nil when out of memory.
  func prepare(_ connection: Ref<Connection>) -> RPCTransport? {
    guard let one = securities[security] else { return .plain }
    let place = one.place
    // Certificates may have changed since the last connection.
    place.value.follow(one.source.context)
    let secured = SecureHandle.client(
      place, fd: connection.value.fd, hostname: hostname, speaks: .http2)
    guard let secured else { return nil }
    unsafe connection.secure(SecureConnection.transport, context: secured.raw)
    // The place lasts as long as its connections, which may linger when the channel is closed.
    return RPCTransport(failure: { withExtendedLifetime(self) { secured.failureText } })
  }
}
