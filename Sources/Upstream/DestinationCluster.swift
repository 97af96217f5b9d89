import Engine

/// The main thread's side of an ORIGINAL_DST cluster: workers tell it of the hosts that they make, it
/// publishes them to all workers, and lets go of those to which nothing goes any more.
final class DestinationCluster {
  let config: Ref<ClusterConfig>
  private let publisher: HostPublisher
  private let loop: EventLoop
  /// Made by workers, and not published yet.
  private var arrived: [Ref<Host>] = []
  private var lastPublished: UInt64 = 0
  private var publishTimer = TimerID.none
  private var cleanupTimer = TimerID.none
  /// How often each host had been chosen when it was last looked at, by the host's number.
  private var picks: [UInt32: UInt64] = [:]
  /// Called after hosts have been published; how many changes it was in Envoy's count, which takes every
  /// host that comes for one.
  var onChange: (_ changes: Int) -> Void = { _ in }

  /// Milliseconds between two publications: each costs every worker a walk over all hosts, and somebody
  /// may open connections to new addresses all the time.
  private static let publishInterval: UInt64 = 20

  init(config: Ref<ClusterConfig>, publisher: HostPublisher, loop: EventLoop) {
    self.config = config
    self.publisher = publisher
    self.loop = loop
    scheduleCleanup()
  }

  deinit {
    loop.cancel(publishTimer)
    loop.cancel(cleanupTimer)
  }

  /// A worker has made a host, and uses it already.
  func add(_ host: Ref<Host>) {
    arrived.append(host)
    guard publishTimer == .none else { return }
    let passed = (loop.now &- lastPublished) / 1_000_000
    guard passed < Self.publishInterval else { return publish() }
    // SAFETY: `deinit` cancels the timer.
    unsafe publishTimer = loop.after(
      milliseconds: Self.publishInterval - passed,
      context: Unmanaged.passUnretained(self).toOpaque()
    ) { context, _ in
      let cluster = unsafe Unmanaged<DestinationCluster>.fromOpaque(context).takeUnretainedValue()
      cluster.publishTimer = .none
      cluster.publish()
    }
  }

  private func publish() {
    guard !arrived.isEmpty, let options = config.value.destination else { return }
    let changes = arrived.count
    publisher.add(arrived, endpoint: options.value.endpoint)
    arrived = []
    lastPublished = loop.now
    onChange(changes)
  }

  /// No worker makes hosts any more. Those that there are leave with the cluster.
  func stop() {
    publish()
    loop.cancel(publishTimer)
    loop.cancel(cleanupTimer)
    publishTimer = .none
    cleanupTimer = .none
  }

  // MARK: Cleaning up

  private func scheduleCleanup() {
    guard let options = config.value.destination else { return }
    // SAFETY: `deinit` cancels the timer.
    unsafe cleanupTimer = loop.after(
      milliseconds: options.value.cleanupInterval,
      context: Unmanaged.passUnretained(self).toOpaque()
    ) { context, _ in
      let cluster = unsafe Unmanaged<DestinationCluster>.fromOpaque(context).takeUnretainedValue()
      cluster.cleanUp()
      cluster.scheduleCleanup()
    }
  }

  /// As in Envoy, a host stays that was chosen since the last time, or has connections.
  private func cleanUp() {
    var seen: [UInt32: UInt64] = [:]
    let hasChanged = publisher.remove { host in
      let now = host.value.picks
      let isUsed = now != picks[host.value.id, default: 0] || host.value.isConnected
      if isUsed { seen[host.value.id] = now }
      return !isUsed
    }
    picks = seen
    if hasChanged { onChange(1) }
  }
}

extension Host {
  /// Some worker has a connection to it, or makes one.
  fileprivate var isConnected: Bool { total(.connectionsActive) != 0 }
}

/// Finds the cluster that a worker has made a host for. Main thread.
final class DestinationLedger {
  private struct Follower {
    weak var cluster: DestinationCluster?
  }

  private var followers: [Follower] = []

  /// From now on this cluster hears of hosts that are made for it.
  func follow(_ cluster: DestinationCluster) {
    followers.removeAll { $0.cluster == nil }
    followers.append(Follower(cluster: cluster))
  }

  /// A worker has made a host of the cluster with this configuration.
  func arrived(_ host: Ref<Host>, in config: Ref<ClusterConfig>) {
    followers.lazy.compactMap(\.cluster).first { $0.config == config }?.add(host)
  }
}
