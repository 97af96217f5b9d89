import CLinux
import Engine
import ResourceModel
import Resources
import Telemetry

/// Resources of one kind out of a file that is read again when another takes its place.
final class FileSubscription: Subscription {
  private let path: String
  private let what: String
  private let stats: SubscriptionStats
  private let subscriber: Subscriber
  private var watch: FileWatcher.Watch?

  /// - Parameter what: for logs: `RDS for 'local'`.
  init(
    _ source: Envoy_Config_Core_V3_PathConfigSource, of what: String, stats: SubscriptionStats,
    watcher: FileWatcher, subscriber: Subscriber
  ) {
    path = source.path
    self.what = what
    self.stats = stats
    self.subscriber = subscriber
    let directory: String
    var file: String?
    if source.hasWatchedDirectory {
      directory = source.watchedDirectory.path
    } else {
      let slash = path.lastIndex(of: "/")
      directory = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
      file = slash.map { String(path[path.index(after: $0)...]) } ?? path
    }
    watch = watcher.watch(directory: directory, file: file) { [weak self] in self?.read() }
    if watch == nil {
      ProcessLog.shared.warning(
        .config, "\(what): cannot watch '\(directory)': changes go unnoticed")
    }
  }

  func start() { read() }

  /// Reads the file, for the first time or again.
  private func read() {
    stats.countAttempt()
    let start = fl_monotonic_ns()
    let set: DiscoveredSet
    do throws(DiscoveryFile.Unreadable) {
      set = try DiscoveryFile.read(path)
    } catch {
      if error.isRefusal { stats.countRejected() } else { stats.countFailure() }
      for reason in error.reasons { ProcessLog.shared.warning(.config, "\(what): \(reason)") }
      return subscriber.failed()
    }
    let refusals = subscriber.update(set)
    stats.recordDuration(fl_monotonic_ns() &- start)
    guard refusals.isEmpty else {
      stats.countRejected()
      for refusal in refusals { refusal.log(by: what) }
      return
    }
    stats.countSuccess(version: set.version)
  }
}
