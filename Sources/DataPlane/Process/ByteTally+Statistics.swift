import Engine
import Telemetry
import Upstream

/// Statistics that grow with a connection's bytes, as in Envoy: while it lasts, not at its end.
extension WorkerStats {
  /// What a connection of this worker counts in.
  func tally(received: CounterID, sent: CounterID) -> ByteTally {
    // SAFETY: the store outlives the workers, and each counts in memory of its own.
    unsafe ByteTally(received: address(of: received), sent: address(of: sent))
  }

  /// What a connection to one of the cluster's endpoints counts in.
  func tally(of cluster: Ref<ClusterView>) -> ByteTally {
    let connections = cluster.value.stats.value.connections
    return tally(received: connections.rxBytesTotal, sent: connections.txBytesTotal)
  }
}
