import MeshModel

/// The names by which clients call services.
enum ServiceDomains {
  /// What a request's host may say for a service, from a workload: the name in full, and for Kubernetes'
  /// services in the same domain its short forms, and its addresses.
  /// - Parameters:
  ///   - port: behind every name as well, for clients that match it.
  ///   - isForAnyPort: names without the port are meant too, whatever it is.
  static func domains(
    of service: MeshService, for node: ProxyNode, withPort port: UInt32?,
    isForAnyPort: Bool = false
  ) -> [String] {
    var names = [service.hostname]
    if !service.hostname.hasPrefix("*") { names.append(service.hostname + ".") }
    if service.isKubernetes {
      let prefix = "\(service.name).\(service.namespace)"
      if service.namespace == node.namespace { names.append(service.name) }
      names += [prefix + ".svc", prefix]
      if service.isHeadless { names += names.filter { !$0.hasSuffix(".") }.map { "*." + $0 } }
    }
    names += service.addresses.filter { !$0.contains("/") }
      .map { $0.contains(":") ? "[\($0)]" : $0 }
    guard let port else { return names }
    let whole = names.map { "\($0):\(port)" }
    // Without a port a client of HTTP means 80.
    return isForAnyPort || port == 80 ? names + whole : whole
  }
}
