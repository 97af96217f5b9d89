import Engine

/// Whoever checks the health of a cluster's hosts. Main thread.
package protocol HostChecker: AnyObject {
  /// The cluster's hosts are these now.
  func follow(_ hosts: Ref<HostSet>)
  /// Calls `body` when every host that there is has been checked once: at once, if it has.
  func onceChecked(_ body: @escaping () -> Void)
  /// The cluster leaves.
  func stop()
}
