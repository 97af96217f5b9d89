import Engine
import Telemetry
import Upstream

// What a session counts: for its listener, its filter, its cluster and its endpoint.
extension Ref where Value == TCPSession {
  private var own: Ref<TCPProxy.Stats> { proxy.value.stats }
  private var connections: ClusterStats.Connections? {
    value.cluster?.value.stats.value.connections
  }
  private var requests: ClusterStats.Requests? { value.cluster?.value.stats.value.requests }

  // MARK: The client

  func countOpened() {
    stats.add(own.value.cxTotal)
    value.downstream.tally = stats.tally(
      received: own.value.cxReceivedBytes, sent: own.value.cxSentBytes)
    value.listener?.countOpened()
    worker.value.countOpenConnection(1)
  }

  func countDownstreamClosed() {
    value.listener?.countClosed(lifetime: (loop.now &- value.openedAt) / 1_000_000)
    if value.refusal == nil { value.chain?.value.filters.release(stats) }
    worker.value.countOpenConnection(-1)
  }

  func countPaused(_ side: Side) {
    if side == .downstream {
      stats.add(own.value.pausedReading)
    } else if let cluster = value.cluster {
      stats.add(cluster.value.stats.value.pausedReading)
    }
  }

  func countResumed(_ side: Side) {
    if side == .downstream {
      stats.add(own.value.resumedReading)
    } else if let cluster = value.cluster {
      stats.add(cluster.value.stats.value.resumedReading)
    }
  }

  func countFlush(_ change: Int64) {
    if change > 0 { stats.add(own.value.flushTotal) }
    stats.gaugeAdd(own.value.flushActive, change)
  }

  // MARK: The upstream. As in Envoy, a connection counts as the one request that waits for it.

  func countConnecting() {
    guard let connections, let requests, let host = value.host else { return }
    stats.add(connections.total)
    stats.gaugeAdd(connections.active, 1)
    stats.add(requests.pendingTotal)
    stats.gaugeAdd(requests.pendingActive, 1)
    host.value.add(.connectionsTotal, worker: worker.value.index)
    host.value.add(.connectionsActive, worker: worker.value.index)
  }

  func countConnected() {
    guard let connections, let requests, let host = value.host else { return }
    stats.record(connections.connectTime, (loop.now &- value.connectStartedAt) / 1_000_000)
    stats.gaugeAdd(requests.pendingActive, -1)
    stats.add(requests.total)
    stats.gaugeAdd(requests.active, 1)
    host.value.add(.requestsTotal, worker: worker.value.index)
    host.value.add(.requestsActive, worker: worker.value.index)
  }

  func countConnectFailed(timedOut: Bool) {
    guard let connections, let requests, let host = value.host else { return }
    stats.add(connections.connectFail)
    if timedOut { stats.add(connections.connectTimeout) }
    stats.add(requests.pendingFailureEject)
    host.value.add(.connectFailures, worker: worker.value.index)
    countGone(byPeer: !timedOut)
    stats.gaugeAdd(requests.pendingActive, -1)
  }

  /// The client left before its upstream was there.
  func countCancelled() {
    guard let requests else { return }
    stats.add(requests.cancelled)
    countGone(byPeer: false)
    stats.gaugeAdd(requests.pendingActive, -1)
  }

  func countUpstreamClosed() {
    guard let connections, let requests, let host = value.host else { return }
    let byPeer = value.upstreamEndedIt
    countGone(byPeer: byPeer)
    stats.add(connections.destroyWithActiveRequest)
    stats.add(
      byPeer
        ? connections.destroyRemoteWithActiveRequest : connections.destroyLocalWithActiveRequest)
    stats.gaugeAdd(requests.active, -1)
    host.value.add(.requestsActive, -1, worker: worker.value.index)
    stats.record(requests.perConnection, 1)
  }

  private func countGone(byPeer: Bool) {
    guard let connections, let host = value.host else { return }
    stats.gaugeAdd(connections.active, -1)
    stats.add(connections.destroy)
    stats.add(byPeer ? connections.destroyRemote : connections.destroyLocal)
    stats.record(
      connections.lengthTime, (loop.now &- value.connectStartedAt) / 1_000_000)
    host.value.add(.connectionsActive, -1, worker: worker.value.index)
  }
}
