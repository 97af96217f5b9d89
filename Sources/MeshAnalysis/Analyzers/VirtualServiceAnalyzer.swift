import MeshMessages
import MeshModel
import MeshTranslation
import Resources

/// What VirtualServices name, and whether it is there.
enum VirtualServiceAnalyzer {
  /// Somewhere that requests or connections are sent.
  private struct Target {
    let destination: Destination
    let path: ConfigPath
    /// What Istio calls it.
    let word: String
  }

  static func analyze(_ context: AnalysisContext) {
    let subsets = subsets(context)
    for rule in context.snapshot.virtualServices {
      for target in targets(of: rule.spec) { check(target, of: rule, subsets, context) }
      checkDelegates(rule, context)
      checkGateways(rule, context)
      checkProtocols(rule, context)
      checkClaims(rule, context)
    }
  }

  private static func targets(of rule: VirtualService) -> [Target] {
    let spec = ConfigPath.root["spec"]
    var found: [Target] = []
    for (index, route) in rule.http.enumerated() {
      let place = spec["http"][index]
      for (number, one) in route.route.enumerated() {
        let path = place["route"][number]["destination"]
        found.append(Target(destination: one.destination, path: path, word: "host"))
      }
      if route.hasMirror {
        found.append(
          Target(destination: route.mirror, path: place["mirror"], word: "mirror host"))
      }
      for (number, one) in route.mirrors.enumerated() {
        let path = place["mirrors"][number]["destination"]
        found.append(Target(destination: one.destination, path: path, word: "mirror host"))
      }
    }
    for (field, routes) in [("tcp", rule.tcp.map(\.route)), ("tls", rule.tls.map(\.route))] {
      for (index, route) in routes.enumerated() {
        for (number, one) in route.enumerated() {
          let path = spec[field][index]["route"][number]["destination"]
          found.append(Target(destination: one.destination, path: path, word: "host"))
        }
      }
    }
    return found
  }

  // MARK: Destinations

  private static func check(
    _ target: Target, of rule: Rule<VirtualService>, _ subsets: [String: [DestinationSubsets]],
    _ context: AnalysisContext
  ) {
    let host = target.destination.host
    guard !host.isEmpty else { return }
    let services = context.services(host, from: rule.namespace)
    guard !services.isEmpty else {
      return context.report(
        .referencedResourceNotFound, rule.object, target.path["host"],
        "Referenced \(target.word) not found: \(Words.quoted(host))")
    }
    let ports = Set(services.flatMap { $0.ports.map(\.number) })
    let number = target.destination.port.number
    if !target.destination.hasPort {
      let numbers = services.map { $0.ports.filter { $0.spoken != .udp }.map(\.number) }
      if let several = numbers.first(where: { $0.count > 1 }), services.count == 1 {
        context.report(
          .portSelectorRequired, rule.object, target.path["host"],
          "This VirtualService routes to a service \(Words.quoted(host)) that exposes multiple ports "
            + "\(Words.list(several)). Specifying a port in the destination is required to "
            + "disambiguate.")
      }
    } else if !ports.contains(number) {
      context.report(
        .referencedResourceNotFound, rule.object, target.path["port"]["number"],
        "Referenced host:port not found: \(Words.quoted("\(host):\(number)"))")
    }
    checkSubset(target, of: rule, subsets, context)
  }

  /// The subsets that a rule gives a host.
  private struct DestinationSubsets {
    let namespace: String
    let names: Set<String>
  }

  private static func subsets(_ context: AnalysisContext) -> [String: [DestinationSubsets]] {
    var found: [String: [DestinationSubsets]] = [:]
    for rule in context.snapshot.destinationRules {
      let host = context.snapshot.fullName(rule.spec.host, in: rule.namespace)
      found[host, default: []].append(
        DestinationSubsets(
          namespace: rule.namespace, names: Set(rule.spec.subsets.map(\.name))))
    }
    return found
  }

  private static func checkSubset(
    _ target: Target, of rule: Rule<VirtualService>, _ subsets: [String: [DestinationSubsets]],
    _ context: AnalysisContext
  ) {
    let subset = target.destination.subset
    guard !subset.isEmpty else { return }
    let host = context.snapshot.fullName(target.destination.host, in: rule.namespace)
    var found = subsets[host] ?? []
    for (pattern, more) in subsets where pattern.hasPrefix("*") {
      if HostPattern.matches(pattern, host) { found += more }
    }
    guard !found.contains(where: { $0.names.contains(subset) }) else { return }
    context.report(
      .referencedResourceNotFound, rule.object, target.path["subset"],
      "Referenced host+subset in destinationrule not found: "
        + Words.quoted("\(target.destination.host)+\(subset)"))
  }

  private static func checkDelegates(_ rule: Rule<VirtualService>, _ context: AnalysisContext) {
    for (index, route) in rule.spec.http.enumerated() where route.hasDelegate {
      let named = route.delegate
      let namespace = named.namespace.isEmpty ? rule.namespace : named.namespace
      guard context.object(.virtualService, namespace, named.name) == nil else { continue }
      context.report(
        .referencedResourceNotFound, rule.object,
        .root["spec"]["http"][index]["delegate"]["name"],
        "Referenced delegate not found: \(Words.quoted("\(namespace)/\(named.name)"))")
    }
  }

  // MARK: Gateways

  private static func checkGateways(_ rule: Rule<VirtualService>, _ context: AnalysisContext) {
    for (index, name) in rule.spec.gateways.enumerated() where name != "mesh" {
      let place = ConfigPath.root["spec"]["gateways"][index]
      let parts = name.split(separator: "/").map(String.init)
      let namespace = parts.count == 2 && parts[0] != "." ? parts[0] : rule.namespace
      guard let object = context.object(.gateway, namespace, parts.last ?? name),
        case .gateway(let gateway) = object.spec
      else {
        context.report(
          .referencedResourceNotFound, rule.object, place,
          "Referenced gateway not found: \(Words.quoted(name))")
        continue
      }
      let served = gateway.servers.flatMap(\.hosts).compactMap { host -> String? in
        let parts = host.split(separator: "/", maxSplits: 1).map(String.init)
        guard parts.count == 2 else { return host }
        let from = parts[0] == "." ? object.namespace : parts[0]
        return from == "*" || from == rule.namespace ? parts[1] : nil
      }
      let hosts = rule.spec.hosts.map { context.snapshot.fullName($0, in: rule.namespace) }
      let isServed = hosts.contains { host in
        served.contains { HostOverlap.overlap($0, host) }
      }
      if !isServed {
        context.report(
          .hostNotFoundInGateway, rule.object, place,
          "one or more host \(Words.list(rule.spec.hosts)) defined in VirtualService "
            + "\(Words.name(rule.object)) not found in Gateway \(Words.name(object)).")
      }
    }
  }

  private static func checkClaims(_ rule: Rule<VirtualService>, _ context: AnalysisContext) {
    let keys = Set(
      rule.spec.http.flatMap(\.match).flatMap {
        Array($0.headers.keys) + Array($0.withoutHeaders.keys)
      }.filter { $0.hasPrefix("@request.auth.claims") })
    guard let key = keys.min() else { return }
    for name in rule.spec.gateways where name != "mesh" {
      let parts = name.split(separator: "/").map(String.init)
      let namespace = parts.count == 2 && parts[0] != "." ? parts[0] : rule.namespace
      guard let object = context.object(.gateway, namespace, parts.last ?? name),
        case .gateway(let gateway) = object.spec
      else { continue }
      let isAuthenticated = context.objects.contains { other in
        guard case .requestAuthentication(let policy) = other.spec else { return false }
        return gateway.selector.contains(labels: policy.selector.matchLabels)
      }
      if !isAuthenticated {
        context.report(
          .claimsWithoutAuthentication, rule.object, .root["spec"]["http"],
          "The virtual service uses the JWT claim based routing (key: \(key)) but found no request "
            + "authentication for the gateway (\(name)) pod (\(Words.selector(gateway.selector))). "
            + "The request authentication must first be applied for the gateway pods to validate "
            + "the JWT token and make the claims available for routing.")
      }
    }
  }

  // MARK: Protocols

  /// Requests are read on ports that speak HTTP: on others, rules about requests change nothing.
  private static func checkProtocols(_ rule: Rule<VirtualService>, _ context: AnalysisContext) {
    let isOfMesh = rule.spec.gateways.isEmpty || rule.spec.gateways.contains("mesh")
    guard isOfMesh, !rule.spec.http.isEmpty, rule.spec.tcp.isEmpty, rule.spec.tls.isEmpty else {
      return
    }
    for (index, host) in rule.spec.hosts.enumerated() {
      let services = context.services(host, from: rule.namespace)
      let ports = services.flatMap(\.ports)
      guard !ports.isEmpty, !ports.contains(where: { $0.spoken.isHTTP || $0.spoken == .auto })
      else { continue }
      let told = ports.map { "\($0.number) is \($0.spoken.rawValue)" }.joined(separator: ", ")
      context.report(
        .noHTTPPort, rule.object, .root["spec"]["hosts"][index],
        "The http routes change nothing for \(host), of which no port speaks HTTP (\(told)): name the "
          + "port http, http-… or grpc, or say its appProtocol.")
    }
  }
}

/// VirtualServices that claim the same host from the same proxies.
enum HostAnalyzer {
  static func analyze(_ context: AnalysisContext) {
    var owners: [String: [Rule<VirtualService>]] = [:]
    for rule in context.snapshot.virtualServices {
      guard rule.spec.gateways.isEmpty || rule.spec.gateways.contains("mesh") else { continue }
      for host in rule.spec.hosts {
        owners[context.snapshot.fullName(host, in: rule.namespace), default: []].append(rule)
      }
    }
    var told: Set<ObjectID> = []
    for (host, rules) in owners.sorted(by: { $0.key < $1.key }) where rules.count > 1 {
      for rule in rules where !told.contains(rule.object.id) {
        let others = rules.filter { meets($0, rule, context) }
        guard others.count > 1 else { continue }
        told.insert(rule.object.id)
        let names = others.map { Words.name($0.object) }.sorted().joined(separator: ",")
        context.report(
          .conflictingMeshHosts, rule.object, .root["spec"]["hosts"],
          "The VirtualServices \(names) associated with mesh gateway define the same host "
            + "\(host) which can lead to undefined behavior. This can be fixed by merging the "
            + "conflicting VirtualServices into a single resource.")
      }
    }
  }

  /// Whether some namespace sees both.
  private static func meets(
    _ one: Rule<VirtualService>, _ other: Rule<VirtualService>, _ context: AnalysisContext
  ) -> Bool {
    let standard = context.snapshot.settings.virtualServiceExportTo
    func seers(_ rule: Rule<VirtualService>) -> Set<String>? {
      let words = rule.spec.exportTo.isEmpty ? standard : rule.spec.exportTo
      if words.contains("*") { return nil }
      return Set(words.filter { $0 != "~" }.map { $0 == "." ? rule.namespace : $0 })
    }
    switch (seers(one), seers(other)) {
    case (nil, nil): return true
    case (let some?, nil), (nil, let some?): return !some.isEmpty
    case (let left?, let right?): return !left.isDisjoint(with: right)
    }
  }
}
