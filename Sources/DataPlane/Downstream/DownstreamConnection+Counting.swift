import Engine
import Telemetry

/// What a client's connection counts, for its listener and its connection manager.
extension Ref where Value == DownstreamConnection {
  private var stats: WorkerStats { held.value.stats }
  private var counters: Ref<ConnectionManagerStats>? { value.terminal?.manager.value.stats }

  func countOpened() {
    guard let counters, let listener = value.listener else { return }
    listener.countOpened()
    stats.add(counters.value.cxTotal)
    stats.gaugeAdd(counters.value.cxActive, 1)
    stats.gaugeAdd(counters.value.cxHTTP1Active, 1)
    value.connection.tally = stats.tally(
      received: counters.value.cxReceivedBytes, sent: counters.value.cxSentBytes)
    held.value.link(self)
  }

  /// What it speaks is known with its first byte.
  func countProtocol() {
    if let counters { stats.add(counters.value.cxHTTP1Total) }
  }

  /// It turned out to speak HTTP/2.
  func countSession() {
    guard let counters else { return }
    stats.add(counters.value.cxHTTP2Total)
    stats.gaugeAdd(counters.value.cxHTTP1Active, -1)
    stats.gaugeAdd(counters.value.cxHTTP2Active, 1)
  }

  func countClosed() {
    guard let counters, let listener = value.listener else { return }
    let lifetime = (held.value.loop.now &- value.openedAt) / 1_000_000
    listener.countClosed(lifetime: lifetime)
    value.chain?.value.filters.release(stats)
    stats.gaugeAdd(counters.value.cxActive, -1)
    stats.gaugeAdd(
      value.isHTTP2 ? counters.value.cxHTTP2Active : counters.value.cxHTTP1Active, -1)
    if value.secured != nil { stats.gaugeAdd(counters.value.cxSSLActive, -1) }
    stats.add(counters.value.cxDestroy)
    stats.add(
      value.endOfInput || value.leftDuringRequest
        ? counters.value.cxDestroyRemote : counters.value.cxDestroyLocal)
    if value.leftDuringRequest {
      stats.add(counters.value.cxDestroyActive)
      stats.add(counters.value.cxDestroyRemoteActive)
    }
    stats.record(counters.value.cxLength, lifetime)
    held.value.unlink(self)
  }

  func countIdleTimeout() {
    if let counters { stats.add(counters.value.cxIdleTimeout) }
  }

  func countMaxDuration() {
    if let counters { stats.add(counters.value.cxMaxDuration) }
  }

  func countDelayedCloseTimeout() {
    if let counters { stats.add(counters.value.cxDelayedClose) }
  }
}
