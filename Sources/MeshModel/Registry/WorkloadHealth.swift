/// How a workload's application is, as its entry says: only those that are well are sent requests.
package enum WorkloadHealth {
  /// `true` or `false`; an entry without it is not checked.
  package static let annotation = "fairlead.dev/healthy"
  /// What the proxy said.
  package static let reasonAnnotation = "fairlead.dev/unhealthy-reason"

  /// Whether requests may be sent there.
  static func isReady(_ annotations: [String: String]) -> Bool {
    annotations[annotation] != "false"
  }
}
