import CFilterABI
import Engine
import HTTPModel
import Telemetry
import Upstream

// What is counted for a request, under Envoy's names.
extension Ref where Value == RequestStream {
  private var stats: WorkerStats { worker.value.stats }
  private var ids: Ref<ConnectionManagerStats> { manager.value.stats }

  func countStarted() {
    guard value.downstream != nil, !value.isCounted else { return }
    value.isCounted = true
    stats.add(ids.value.rqTotal)
    stats.add(value.client.isHTTP2 ? ids.value.rqHTTP2Total : ids.value.rqHTTP1Total)
    stats.gaugeAdd(ids.value.rqActive, 1)
  }

  /// An internal redirect makes another request of it.
  func countRestarted() {
    guard value.isCounted else { return }
    stats.add(ids.value.rqTotal)
    stats.add(value.client.isHTTP2 ? ids.value.rqHTTP2Total : ids.value.rqHTTP1Total)
  }

  func countProtocolError() {
    stats.add(ids.value.cxProtocolError)
    value.downstream?.value.flags.insert(.downstreamProtocolError)
  }

  func countNonRelativePath() { stats.add(ids.value.rqNonRelativePath) }

  /// An interim response has gone to the client: it counts as a response of its own, as in Envoy.
  func countInterim() {
    stats.add(ids.value.rqCompleted)
    stats.add(ids.value.rqClasses[0])
    guard let listener = value.downstream?.value.terminal?.stats else { return }
    stats.add(listener.value.rqCompleted)
    stats.add(listener.value.rqClasses[0])
  }

  func countHeadTimeout() { stats.add(ids.value.rqHeaderTimeout) }

  /// At the end of the stream.
  func countEnded() {
    guard value.isCounted, let downstream = value.downstream else { return }
    stats.gaugeAdd(ids.value.rqActive, -1)
    if !value.request.ended, value.headSent { stats.add(ids.value.rqEarlyResponse) }
    guard value.headSent else { return }
    // As in Envoy, health checks are not among the requests that completed.
    guard !value.isHealthCheck else { return stats.add(ids.value.healthCheck) }
    let milliseconds = (loop.now &- value.startedAt) / 1_000_000
    stats.add(ids.value.rqCompleted)
    stats.record(ids.value.rqTime, milliseconds)
    let statusClass = value.status / 100 - 1
    guard statusClass >= 0, statusClass < 5 else { return }
    stats.add(ids.value.rqClasses[statusClass])
    guard let listener = downstream.value.terminal?.stats else { return }
    stats.add(listener.value.rqCompleted)
    stats.add(listener.value.rqClasses[statusClass])
  }

  // MARK: The cluster

  func countAttempt(_ cluster: Ref<ClusterView>) {
    stats.add(cluster.value.stats.value.requests.total)
    stats.gaugeAdd(cluster.value.stats.value.requests.active, 1)
    guard let host = value.attempt.host else { return }
    host.value.add(.requestsTotal, worker: worker.value.index)
    host.value.add(.requestsActive, worker: worker.value.index)
  }

  func countAttemptEnded(_ cluster: Ref<ClusterView>) {
    stats.gaugeAdd(cluster.value.stats.value.requests.active, -1)
    value.attempt.host?.value.add(.requestsActive, -1, worker: worker.value.index)
  }

  /// A response's head has come from the upstream. Which of the cluster's statistics it counts in
  /// is known when it goes on to the client, or when another attempt is made in its place.
  func countResponse(_ status: Int) {
    value.attempt.uncountedStatus = status
    value.attempt.isUncountedFailure = false
    value.attempt.host?.value.add(
      status < 500 ? .requestsSucceeded : .requestsFailed, worker: worker.value.index)
  }

  /// An answer that the router gave in the upstream's place counts as the cluster's, as in Envoy.
  func countFailure(status: Int) {
    value.attempt.uncountedStatus = status
    value.attempt.isUncountedFailure = true
    value.attempt.host?.value.add(.requestsFailed, worker: worker.value.index)
  }

  /// The response goes on to the client.
  func countPassed() {
    let status = value.attempt.uncountedStatus
    guard status > 0, let cluster = value.attempt.cluster else { return }
    value.attempt.uncountedStatus = 0
    guard !value.isHealthCheck, manager.value.countsAnswers else { return }
    var milliseconds: UInt64?
    if !value.attempt.isUncountedFailure {
      let since = value.upstreamRequestEndedAt > 0 ? value.upstreamRequestEndedAt : loop.now
      milliseconds = (loop.now &- since) / 1_000_000
    }
    cluster.countResponse(
      code: status, origin: value.isInternal ? .internal : .external, milliseconds: milliseconds)
    if let canary = value.responseHead[.envoyCanary], canary == "true" {
      cluster.countCanary(code: status, milliseconds: milliseconds)
    }
  }

  /// Another attempt is made in the response's place.
  func countRetried() {
    let status = value.attempt.uncountedStatus
    guard status > 0, let cluster = value.attempt.cluster else { return }
    value.attempt.uncountedStatus = 0
    if !value.attempt.isUncountedFailure { cluster.countRetried(code: status) }
  }

  func countReset(_ failure: UpstreamFailure) {
    guard let cluster = value.attempt.cluster else { return }
    switch failure {
    case .protocolError: stats.add(cluster.value.stats.value.connections.protocolError)
    // What Envoy counts as a reset by the upstream is a stream's, which HTTP/1 does not know.
    case .remoteReset: stats.add(cluster.value.stats.value.requests.rxReset)
    case .terminated, .reset, .refused: return
    }
  }

  /// Where filters count: the cluster that is asked, or will be.
  var filterCluster: Ref<ClusterView>? { value.attempt.cluster ?? value.route.cluster }

  func countForCluster(_ stat: fl_cluster_stat, _ n: UInt64) {
    guard let cluster = filterCluster else { return }
    let all = cluster.value.stats
    switch stat {
    case FL_CLUSTER_RQ_TIMEOUT:
      stats.add(all.value.requests.timeout, n)
      value.attempt.routeTimedOut = true
    case FL_CLUSTER_RQ_PER_TRY_TIMEOUT: stats.add(all.value.requests.perTryTimeout, n)
    case FL_CLUSTER_RQ_PER_TRY_IDLE_TIMEOUT: stats.add(all.value.requests.perTryIdleTimeout, n)
    case FL_CLUSTER_RQ_RETRY: stats.add(all.value.retries.total, n)
    case FL_CLUSTER_RQ_RETRY_SUCCESS: stats.add(all.value.retries.success, n)
    case FL_CLUSTER_RQ_RETRY_OVERFLOW: stats.add(all.value.retries.overflow, n)
    case FL_CLUSTER_RQ_RETRY_LIMIT_EXCEEDED: stats.add(all.value.retries.limitExceeded, n)
    case FL_CLUSTER_RQ_RETRY_BACKOFF_EXPONENTIAL:
      stats.add(all.value.retries.backoffExponential, n)
    case FL_CLUSTER_RQ_RETRY_BACKOFF_RATELIMITED:
      stats.add(all.value.retries.backoffRateLimited, n)
    default: return
    }
  }
}
