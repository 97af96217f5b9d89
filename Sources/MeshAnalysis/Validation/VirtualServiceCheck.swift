import MeshMessages
import MeshModel
import MeshTranslation
import Resources

/// What is wrong with a VirtualService, by Istio's rules.
struct VirtualServiceCheck {
  let check: FieldCheck
  let object: MeshObject

  /// So many hosts are repeated in a message.
  private static let shownHosts = 10

  /// Looks at all of it.
  func check(_ rule: VirtualService, _ path: ConfigPath) {
    checkHosts(rule, path)
    checkGateways(rule.gateways, path["gateways"])
    check.exportTo(rule.exportTo, of: object, path["exportTo"])
    if rule.http.isEmpty, rule.tcp.isEmpty, rule.tls.isEmpty {
      check.error(path, "a VirtualService has 'http', 'tls' or 'tcp' routes: write one")
    }
    let isDelegate = rule.hosts.isEmpty
    let isOfGateways = rule.gateways.contains { $0 != "mesh" }
    let routes = HTTPRouteCheck(check: check, isDelegate: isDelegate, isOfGateways: isOfGateways)
    for (index, route) in rule.http.enumerated() { routes.check(route, path["http"][index]) }
    let hosts = rule.tls.isEmpty ? HostIndex() : HostIndex(rule.hosts)
    for (index, route) in rule.tls.enumerated() {
      checkTLS(route, rule, hosts, path["tls"][index])
    }
    for (index, route) in rule.tcp.enumerated() { checkTCP(route, path["tcp"][index]) }
  }

  private func checkHosts(_ rule: VirtualService, _ path: ConfigPath) {
    if rule.hosts.isEmpty {
      // Others refer to it, by its name.
      for (field, isThere) in [
        ("gateways", !rule.gateways.isEmpty), ("tls", !rule.tls.isEmpty),
        ("tcp", !rule.tcp.isEmpty),
      ] where isThere {
        check.error(
          path[field],
          "without 'hosts' this is a delegate, which has 'http' alone: give it hosts, or remove this"
        )
      }
      return
    }
    let isOfMesh = rule.gateways.isEmpty || rule.gateways.allSatisfy { $0 == "mesh" }
    var before = HostIndex()
    for (index, host) in rule.hosts.enumerated() {
      let place = path["hosts"][index]
      if host == "*", isOfMesh {
        check.error(
          place, "'*' is for gateways: name the hosts, or the gateways whose requests are meant")
      } else {
        check.host(host, place)
      }
      defer { before.insert(host, at: index) }
      if let other = before.first(covering: host).map({ rule.hosts[$0] }) {
        check.error(
          place,
          other == host
            ? "host '\(host)' is there already: remove one"
            : "host '\(host)' is covered by '\(other)': remove one")
      }
    }
  }

  private func checkGateways(_ gateways: [String], _ path: ConfigPath) {
    for (index, gateway) in gateways.enumerated() where gateway != "mesh" {
      let parts = gateway.split(separator: "/", omittingEmptySubsequences: false)
      let isGood =
        parts.count <= 2
        && parts.allSatisfy { NameSyntax.isDomain($0) || (parts.count == 2 && $0 == ".") }
      if !isGood {
        check.error(
          path[index], "'\(gateway)' names no Gateway: write its name, or <namespace>/<name>")
      }
    }
  }

  // MARK: Connections

  private func checkTLS(
    _ route: Istio_Networking_V1alpha3_TLSRoute, _ rule: VirtualService, _ hosts: HostIndex,
    _ path: ConfigPath
  ) {
    if route.match.isEmpty {
      check.error(path, "a TLS route has a 'match' with 'sniHosts': say for which names it is")
    }
    for (index, match) in route.match.enumerated() {
      let place = path["match"][index]
      if match.sniHosts.isEmpty {
        check.error(place, "a TLS match has 'sniHosts': say for which names it is")
      }
      for (index, host) in match.sniHosts.enumerated() {
        let name = place["sniHosts"][index]
        check.host(host, name)
        if hosts.first(covering: host) == nil {
          let shown = rule.hosts.prefix(Self.shownHosts).joined(separator: ", ")
          let more = rule.hosts.count > Self.shownHosts ? ", …" : ""
          check.error(
            name,
            "'\(host)' is none of the VirtualService's hosts (\(shown)\(more)): add it there")
        }
      }
      checkConnection(
        subnets: match.destinationSubnets, port: match.port, labels: match.sourceLabels,
        namespace: match.sourceNamespace, gateways: match.gateways, place)
    }
    checkRoutes(route.route, of: "TLS", path)
  }

  private func checkTCP(_ route: Istio_Networking_V1alpha3_TCPRoute, _ path: ConfigPath) {
    for (index, match) in route.match.enumerated() {
      let place = path["match"][index]
      checkConnection(
        subnets: match.destinationSubnets, port: match.port, labels: match.sourceLabels,
        namespace: match.sourceNamespace, gateways: match.gateways, place)
      if !match.sourceSubnet.isEmpty, !NameSyntax.isSubnet(match.sourceSubnet) {
        check.error(place["sourceSubnet"], "'\(match.sourceSubnet)' is no subnet: 10.0.0.0/8 is")
      }
    }
    checkRoutes(route.route, of: "TCP", path)
  }

  private func checkConnection(
    subnets: [String], port: UInt32, labels: [String: String], namespace: String,
    gateways: [String], _ path: ConfigPath
  ) {
    for (index, subnet) in subnets.enumerated() where !NameSyntax.isSubnet(subnet) {
      check.error(path["destinationSubnets"][index], "'\(subnet)' is no subnet: 10.0.0.0/8 is")
    }
    if port != 0 { check.port(port, path["port"]) }
    check.labels(labels, path["sourceLabels"])
    if !namespace.isEmpty { check.namespace(namespace, path["sourceNamespace"]) }
    checkGateways(gateways, path["gateways"])
  }

  private func checkRoutes(
    _ routes: [Istio_Networking_V1alpha3_RouteDestination], of what: String, _ path: ConfigPath
  ) {
    if routes.isEmpty {
      check.error(path, "a \(what) route has a 'route' with destinations: say where to")
    }
    let targets = DestinationCheck(check: check)
    targets.checkWeights(routes.map(\.weight), path["route"])
    for (index, target) in routes.enumerated() {
      targets.check(target.destination, path["route"][index])
    }
  }
}

/// Where requests and connections go.
struct DestinationCheck {
  let check: FieldCheck

  /// - Parameter path: of what has the `destination`, or of the destination itself.
  func check(_ target: Destination, _ path: ConfigPath, field: String? = "destination") {
    let place = field.map { path[$0] } ?? path
    if target.host.isEmpty {
      check.error(place, "a destination names its 'host'")
    } else if target.host == "*" {
      check.error(place["host"], "a destination is one host: '*' is none")
    } else {
      check.host(target.host, place["host"])
    }
    if target.hasPort { check.port(target.port.number, place["port"]["number"]) }
    if !target.subset.isEmpty, !NameSyntax.isSubset(target.subset) {
      check.error(place["subset"], "'\(target.subset)' is no name of a subset: v1 is")
    }
  }

  func checkWeights(_ weights: [Int32], _ path: ConfigPath) {
    var total: Int64 = 0
    for (index, weight) in weights.enumerated() {
      total += Int64(weight)
      if weight < 0 {
        check.error(path[index]["weight"], "a weight is 0 or more, not \(weight)")
      }
    }
    if weights.count > 1, total == 0 {
      check.error(
        path, "of several destinations one at least has a 'weight' above 0: give them weights")
    }
  }
}

/// Hosts of which one stands for the other.
enum HostOverlap {
  /// Whether one covers the other.
  static func overlap(_ one: String, _ other: String) -> Bool {
    HostPattern.matches(one, other) || HostPattern.matches(other, one)
  }
}
