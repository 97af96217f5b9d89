import CLinux
import Telemetry

/// What is counted of one subscription, `<scope>update_…`, under Envoy's names. Main thread.
struct SubscriptionStats {
  private let attempt: CounterID
  private let success: CounterID
  private let failure: CounterID
  private let rejected: CounterID
  private let fetchTimeout: CounterID
  private let updateTime: GaugeID
  private let version: GaugeID
  private let duration: HistogramID
  private let scope: String
  private let store: StatsStore

  /// - Parameter scope: ends with a dot.
  init(scope: String, in store: StatsStore) {
    self.scope = scope
    self.store = store
    attempt = store.counter(scope + "update_attempt")
    success = store.counter(scope + "update_success")
    failure = store.counter(scope + "update_failure")
    rejected = store.counter(scope + "update_rejected")
    fetchTimeout = store.counter(scope + "init_fetch_timeout")
    updateTime = store.gauge(scope + "update_time")
    version = store.gauge(scope + "version")
    duration = store.histogram(scope + "update_duration")
    store.setText(scope + "version_text", "")
  }

  func countAttempt() { store.main.add(attempt) }
  func countFailure() { store.main.add(failure) }
  func countRejected() { store.main.add(rejected) }
  func countFetchTimeout() { store.main.add(fetchTimeout) }

  /// An answer has been taken over whole.
  func countSuccess(version text: String) {
    store.main.add(success)
    store.main.gaugeSet(updateTime, Int64(clamping: fl_realtime_ns() / 1_000_000))
    // As in Envoy, whose gauges have 63 bits.
    store.setWhole(version, Int64(bitPattern: XXHash64.hash(text) & UInt64(Int64.max)))
    store.setText(scope + "version_text", text)
  }

  /// - Parameter nanoseconds: how long it took to take an answer over.
  func recordDuration(_ nanoseconds: UInt64) {
    store.main.record(duration, nanoseconds / 1_000_000)
  }
}
