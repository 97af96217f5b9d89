import CLinux
import Engine
import GRPC
import Resources
import Telemetry
import XDSClient

/// Resources of one kind from a control plane, by the stream that all such subscriptions share (ADS), or by
/// one of its own. Counts as Envoy does: an attempt to begin with, and one with whatever comes of it.
final class StreamSubscription: Subscription {
  private let type: ResourceType
  private let name: String?
  private let what: String
  private let stats: SubscriptionStats
  private let subscriber: Subscriber
  private let client: XDSClient
  /// The stream is for this subscription alone, and begins and ends with it.
  private let isOwn: Bool
  private var watch: XDSClient.Watch?
  private let fetchTimeout: UInt64
  private let fetchTimer: LoopTimer

  /// - Parameters:
  ///   - fetchTimeout: milliseconds until whoever waits for a first answer goes on without; 0 is never.
  ///   - what: for logs: `RDS for 'local'`.
  init(
    _ type: ResourceType, named name: String?, from client: XDSClient, isOwn: Bool,
    fetchTimeout: UInt64, of what: String, stats: SubscriptionStats, subscriber: Subscriber,
    on loop: EventLoop
  ) {
    self.type = type
    self.name = name
    self.client = client
    self.isOwn = isOwn
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
    if isOwn { client.start() }
    guard fetchTimeout > 0 else { return }
    fetchTimer.set(milliseconds: fetchTimeout) { [weak self] in self?.fetchTimedOut() }
  }

  private func fetchTimedOut() {
    stats.countFetchTimeout()
    stats.countAttempt()
    if let watch, client.serveStored(watch) { return }
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
    guard !set.isStored else { return takeStored(set) }
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

  /// What an earlier process has kept: no answer of anybody's.
  private func takeStored(_ set: DiscoveredSet) -> [Refusal] {
    ProcessLog.shared.info(
      .config,
      "\(what): the control plane is not there; serving version '\(set.version)' from the cache")
    let refusals = subscriber.update(set)
    for refusal in refusals { refusal.log(by: what) }
    return refusals
  }
}
