import CLinux
import Engine
import GRPC
import Resources
import Telemetry
import XDSClient

/// Resources of one kind from the control plane, by the stream that all such subscriptions share.
/// Counts as Envoy does: an attempt to begin with, and one with whatever comes of it.
final class ADSSubscription: Subscription {
  private let type: ResourceType
  private let name: String?
  private let what: String
  private let stats: SubscriptionStats
  private let subscriber: Subscriber
  private let client: XDSClient
  private var watch: XDSClient.Watch?
  private let fetchTimeout: UInt64
  private let fetchTimer: LoopTimer

  /// - Parameters:
  ///   - fetchTimeout: milliseconds until whoever waits for a first answer goes on without; 0 is never.
  ///   - what: for logs: `RDS for 'local'`.
  init(
    _ type: ResourceType, named name: String?, from client: XDSClient, fetchTimeout: UInt64,
    of what: String, stats: SubscriptionStats, subscriber: Subscriber, on loop: EventLoop
  ) {
    self.type = type
    self.name = name
    self.client = client
    self.fetchTimeout = fetchTimeout
    self.what = what
    self.stats = stats
    self.subscriber = subscriber
    fetchTimer = LoopTimer(on: loop)
  }

  func start() {
    stats.countAttempt()
    watch = client.watch(
      type, named: name,
      ResourceWatcher(
        update: { [weak self] in self?.update($0) ?? [] },
        refused: { [weak self] in self?.refused($0) },
        disconnected: { [weak self] in self?.disconnected() }))
    guard fetchTimeout > 0 else { return }
    fetchTimer.set(milliseconds: fetchTimeout) { [weak self] in self?.fetchTimedOut() }
  }

  private func fetchTimedOut() {
    stats.countFetchTimeout()
    stats.countAttempt()
    ProcessLog.shared.warning(.config, "\(what): no answer in time; going on without")
    subscriber.failed()
  }

  private func disconnected() {
    stats.countFailure()
    stats.countAttempt()
  }

  private func refused(_ reasons: [String]) {
    fetchTimer.cancel()
    stats.countAttempt()
    stats.countRejected()
    for reason in reasons { ProcessLog.shared.warning(.config, "\(what): \(reason)") }
    subscriber.failed()
  }

  private func update(_ set: DiscoveredSet) -> [Refusal] {
    fetchTimer.cancel()
    stats.countAttempt()
    let start = fl_monotonic_ns()
    let refusals = subscriber.update(set)
    stats.recordDuration(fl_monotonic_ns() &- start)
    if refusals.isEmpty {
      stats.countSuccess(version: set.version)
    } else {
      stats.countRejected()
      for refusal in refusals { refusal.log(by: what) }
    }
    return refusals
  }
}

extension Server {
  /// The stream to the control plane that the bootstrap names.
  func makeControlPlane() -> XDSClient? {
    guard let control = config.controlPlane,
      let cluster = config.clusters.first(where: { $0.message.name == control.cluster })
    else { return nil }
    let settings = cluster.compiled.config
    let route = ControlPlaneRoute(self, to: control.cluster, settings)
    let channel = RPCChannel(
      RPCRuntime(loop: loop), authority: control.authority,
      connectMilliseconds: settings.value.connectTimeout,
      keepalive: settings.value.http.http2Keepalive, source: settings.value.source,
      isSecured: route.isSecured, prepare: route.prepare, address: route.address)
    var node = config.bootstrap.node
    // Whoever sends configuration may choose what a program of this kind understands.
    node.userAgentName = "fairlead"
    // Who sends it clusters has to know whether it can show a certificate of the mesh.
    if options.ownCertificate != nil {
      node.metadata.fields["OWN_CERTIFICATE"] = .with { $0.stringValue = "true" }
    }
    let client = XDSClient(
      channel, control.variant, node: node,
      tellsNodeOnce: control.tellsNodeOnce, metadata: control.metadata, on: loop)
    let store = config.store
    let connected = store.gauge("control_plane.connected_state")
    store.main.gaugeSet(connected, 0)
    store.setText("control_plane.identifier", "")
    client.onConnection = { store.main.gaugeSet(connected, $0 ? 1 : 0) }
    client.onIdentifier = { store.setText("control_plane.identifier", $0) }
    client.onProblem = { ProcessLog.shared.warning(.config, "ADS: \($0)") }
    return client
  }
}
