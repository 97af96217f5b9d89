import Engine
import GRPC
import Telemetry
import Upstream

/// The health checks of one cluster: a session for each host, and what becomes of their results.
final class ClusterHealthChecks: HostChecker {
  let config: Ref<ClusterConfig>
  var check: HealthCheckConfig { checkConfig.value }
  private let checkConfig: Ref<HealthCheckConfig>
  let loop: EventLoop
  let stats: HealthCheckStats
  /// What calls of gRPC checks share.
  let rpc: RPCRuntime
  /// Called once every host has been checked once.
  private var whenChecked: (() -> Void)?
  private unowned let cluster: ActiveCluster
  private unowned let all: HealthChecks
  private let connections: CounterID
  private var sessions: [UInt32: HealthCheckSession] = [:]
  private var unchecked: Set<UInt32> = []
  /// This thread's own, because a place belongs to one thread; made when first needed.
  private var tls: Ref<TLSPlace>?

  init(_ cluster: ActiveCluster, _ check: Ref<HealthCheckConfig>, of all: HealthChecks) {
    self.cluster = cluster
    checkConfig = check
    self.all = all
    config = cluster.config
    rpc = all.rpc
    loop = all.rpc.loop
    connections = cluster.stats.value.connections.total
    stats = HealthCheckStats(
      "cluster.\(config.value.statName.string).health_check.", in: all.store)
  }

  func onceChecked(_ body: @escaping () -> Void) {
    whenChecked = body
    tellIfChecked()
  }

  func stop() {
    whenChecked = nil
    for session in sessions.values {
      session.stop()
      all.forget(session)
    }
    sessions = [:]
    tls?.destroy()
    tls = nil
  }

  /// Hosts that are new are checked, those that left are not any more.
  func follow(_ hosts: Ref<HostSet>) {
    var gone = Set(sessions.keys)
    for entry in hosts.value.hosts.array {
      gone.remove(entry.host.value.id)
      guard sessions[entry.host.value.id] == nil, !entry.endpoint.value.isUnchecked,
        let address = address(of: entry)
      else { continue }
      let session = HealthCheckSession(
        entry.host, at: address, named: entry.endpoint.value.healthCheckName, of: self)
      sessions[entry.host.value.id] = session
      all.add(session)
      unchecked.insert(entry.host.value.id)
      session.start()
    }
    for id in gone {
      guard let session = sessions.removeValue(forKey: id) else { continue }
      session.stop()
      all.forget(session)
      unchecked.remove(id)
    }
    publishGauges()
    tellIfChecked()
  }

  /// Where a host is checked: at the endpoint's port for checks, or where requests go.
  private func address(of entry: HostEntry) -> SocketAddress? {
    guard let address = entry.addresses.array.first else { return nil }
    let own = entry.endpoint.value.healthCheckPort
    guard own > 0, !address.isUnix else { return address }
    return SocketAddress(ip: address.ip, port: own)
  }

  // MARK: For the sessions

  var isSecured: Bool { all.tlsSource(of: config) != nil }

  /// A connection has to be prepared, by TLS or by a PROXY header.
  var isPreparing: Bool { isSecured || config.value.announcement != nil }

  /// Puts TLS between a connection and its socket, where the cluster speaks it, and a PROXY header in
  /// front. False when out of memory.
  func prepare(_ connection: Ref<Connection>, to address: SocketAddress, hostname: Bytes) -> Bool {
    let header = announcement(on: connection, to: address)
    guard let place = tlsPlace() else {
      connection.write(header, on: loop)
      return true
    }
    let secured = SecureHandle.client(
      place, fd: connection.value.fd, hostname: hostname, protocols: check.protocols.copy,
      prelude: header)
    guard let secured else { return false }
    unsafe connection.secure(SecureConnection.transport, context: secured.raw)
    return true
  }

  /// We speak for ourselves (as in Envoy): version 2 has a word for it, and version 1 names our own
  /// address.
  private func announcement(on connection: Ref<Connection>, to address: SocketAddress) -> [UInt8] {
    guard let announcement = config.value.announcement else { return [] }
    var client = AnnouncedClient()
    if announcement.value.version == .v1 {
      client.remote = ListenSocket.localAddress(of: connection.value.fd)
      client.local = address
    }
    return announcement.value.header(for: client).bytes
  }

  private func tlsPlace() -> Ref<TLSPlace>? {
    guard let source = all.tlsSource(of: config) else { return nil }
    let place = tls ?? all.makePlace(for: source)
    tls = place
    // Certificates may have changed since the last check.
    place.value.follow(source.context)
    return place
  }

  func random() -> UInt64 { loop.state.value.random.next() }

  func count(_ id: CounterID) { all.store.main.add(id) }

  /// A connection has been made for a request.
  var hasTraffic: Bool { all.store.value(connections) > 0 }

  func note(_ session: HealthCheckSession, _ change: HealthCheckState.Change) {
    if change == .changed {
      let word = session.flags.contains(.failedActive) ? "unhealthy" : "healthy"
      let name = config.value.displayName.string
      ProcessLog.shared.debug(
        .upstream, "health check: a host of cluster '\(name)' is \(word)")
    }
    cluster.setFlags(session.flags, of: session.host)
    publishGauges()
    unchecked.remove(session.hostID)
    tellIfChecked()
  }

  private func publishGauges() {
    let store = all.store.main
    let flags = sessions.values.map(\.flags)
    store.gaugeSet(stats.healthy, Int64(flags.count { !$0.contains(.failedActive) }))
    store.gaugeSet(stats.degraded, Int64(flags.count { $0.contains(.degradedActive) }))
  }

  private func tellIfChecked() {
    guard unchecked.isEmpty, let body = whenChecked else { return }
    whenChecked = nil
    body()
  }
}

/// `cluster.<name>.health_check.…`
struct HealthCheckStats {
  let attempt: CounterID
  let success: CounterID
  let failure: CounterID
  let passiveFailure: CounterID
  let networkFailure: CounterID
  let healthy: GaugeID
  let degraded: GaugeID

  init(_ prefix: String, in store: StatsStore) {
    attempt = store.counter(prefix + "attempt")
    success = store.counter(prefix + "success")
    failure = store.counter(prefix + "failure")
    passiveFailure = store.counter(prefix + "passive_failure")
    networkFailure = store.counter(prefix + "network_failure")
    // Nothing compares the name of the cluster that was asked, but dashboards expect it.
    _ = store.counter(prefix + "verify_cluster")
    healthy = store.gauge(prefix + "healthy")
    degraded = store.gauge(prefix + "degraded")
  }
}
