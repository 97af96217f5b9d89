/// A cluster's name as Istio makes it: `outbound|8090|v1|web.default.svc.cluster.local`.
package struct ClusterName: Equatable {
  package let direction: String
  package let port: Int
  package let subset: String
  package let fqdn: String

  /// Of any other name, all of it stands for the service.
  package init(_ name: String) {
    let parts = name.split(separator: "|", omittingEmptySubsequences: false).map(String.init)
    guard parts.count > 3 else {
      (direction, port, subset, fqdn) = ("", 0, "", name)
      return
    }
    (direction, port, subset, fqdn) = (parts[0], Int(parts[1]) ?? 0, parts[2], parts[3])
  }
}
