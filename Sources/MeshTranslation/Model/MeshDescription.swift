import MeshMessages
import MeshModel

/// What the mesh makes of a workload or a service, and which rules are for it, in words: as a proxy of the
/// same namespace sees it.
package struct MeshDescription {
  private let snapshot: MeshSnapshot
  private let scope: OutboundScope
  private let node: ProxyNode

  /// - Parameter node: a proxy of the namespace: the workload's own, where it has one.
  package init(_ snapshot: MeshSnapshot, for node: ProxyNode) {
    self.snapshot = snapshot
    self.node = node
    scope = OutboundScope(snapshot, for: node)
  }

  // MARK: Workloads

  /// A workload: services, rules and policies.
  /// - Parameter objects: everything in force.
  package func lines(of workload: MeshWorkload, objects: [MeshObject]) -> [String] {
    var lines = [
      "Pod: \(workload.name).\(workload.namespace)",
      "   Addresses: \(Self.list(workload.addresses))",
      "   Labels: \(Self.text(workload.labels))",
      "   Service account: \(workload.serviceAccount)",
    ]
    if !workload.isReady { lines.append("   NOT READY: it is sent no requests") }
    for (label, why) in [
      ("app", "telemetry has no name for it"), ("version", "no subset can select it by version"),
    ] where workload.labels[label] == nil {
      lines.append("   Suggestion: add the label '\(label)': without it \(why)")
    }
    let found = snapshot.registry.services(
      of: workload.labels, namespace: workload.namespace, addresses: workload.addresses)
    lines.append("--------------------")
    if found.isEmpty { lines.append("No service selects it.") }
    var shown: Set<String> = []
    for (service, _, _) in found where shown.insert(service.hostname).inserted {
      lines.append("Service: \(service.name).\(service.namespace)")
      for (other, port, target) in found where other.hostname == service.hostname {
        lines.append("   Port: \(Self.text(port)) targets port \(target)")
      }
      lines += rules(for: service, labels: workload.labels)
    }
    lines += nearMisses(workload, except: shown)
    return lines + policies(for: workload, objects)
  }

  /// Services of which the selector fits in part.
  private func nearMisses(_ workload: MeshWorkload, except shown: Set<String>) -> [String] {
    snapshot.registry.services.compactMap { service in
      guard service.namespace == workload.namespace, !shown.contains(service.hostname),
        service.selector.contains(where: { workload.labels[$0.key] == $0.value })
      else { return nil }
      let wrong = service.selector.filter { workload.labels[$0.key] != $0.value }
        .sorted { $0.key < $1.key }
      guard !wrong.isEmpty else {
        return "Service \(service.name).\(service.namespace) selects it, and has no endpoint of it"
      }
      let reasons = wrong.map { key, value in
        let own = workload.labels[key].map { "is '\($0)'" } ?? "is missing"
        return "label '\(key)' \(own), and '\(value)' is wanted"
      }
      return "Service \(service.name).\(service.namespace) does not select it: "
        + reasons.joined(separator: "; ")
    }
  }

  // MARK: Services

  /// A service: ports, endpoints and rules.
  package func lines(of service: MeshService) -> [String] {
    var lines = ["Service: \(service.name).\(service.namespace)", "   Host: \(service.hostname)"]
    for port in service.ports {
      let endpoints = snapshot.registry.endpoints(of: service, port: port.number)
      let ready = endpoints.count(where: \.isReady)
      lines.append(
        "   Port: \(Self.text(port)), \(ready) of \(endpoints.count) endpoints are ready")
      let workloads = Set(endpoints.map(\.workload)).filter { !$0.isEmpty }.sorted()
      if !workloads.isEmpty { lines.append("      Workloads: \(Self.list(workloads))") }
    }
    return lines + rules(for: service, labels: nil)
  }

  /// Rules that are for a service.
  /// - Parameter labels: of a workload, to say which subsets it is in.
  private func rules(for service: MeshService, labels: [String: String]?) -> [String] {
    var lines: [String] = []
    let rule = scope.destinationRule(for: service)
    if let rule {
      lines.append("DestinationRule: \(Self.name(rule.origin)) for \"\(service.hostname)\"")
      lines += subsets(of: rule, service, labels)
      lines.append("   \(Self.policy(rule.policy))")
    }
    if let routes = scope.virtualService(for: service.hostname) {
      lines.append("VirtualService: \(Self.name(routes.object.id))")
      lines += self.lines(of: routes, service, rule, labels)
    }
    let others = snapshot.virtualServices.filter { other in
      !other.spec.gateways.isEmpty && !other.spec.gateways.contains("mesh")
        && Self.leads(other.spec, to: service.hostname) {
          snapshot.fullName($0, in: other.namespace)
        }
    }
    for other in others {
      lines.append(
        "VirtualService: \(Self.name(other.object.id)) is for gateways alone: "
          + Self.list(other.spec.gateways))
    }
    return lines
  }

  private func subsets(
    of rule: EffectiveRule, _ service: MeshService, _ labels: [String: String]?
  ) -> [String] {
    guard !rule.subsets.isEmpty else { return [] }
    guard let labels else {
      return rule.subsets.map { subset in
        let count = service.ports.first.map { port in
          snapshot.registry.endpoints(of: service, port: port.number)
            .count { $0.labels.contains(labels: subset.labels) }
        }
        return "   Subset: \(subset.name) (\(Self.text(subset.labels))), \(count ?? 0) endpoints"
      }
    }
    let mine = rule.subsets.filter { labels.contains(labels: $0.labels) }
    let others = rule.subsets.filter { !labels.contains(labels: $0.labels) }
    var lines = ["   Matching subsets: \(mine.isEmpty ? "none" : Self.list(mine.map(\.name)))"]
    for subset in others {
      lines.append("      (Non-matching subset \(subset.name): \(Self.text(subset.labels)))")
    }
    return lines
  }

  private func lines(
    of rule: Rule<VirtualService>, _ service: MeshService, _ destinations: EffectiveRule?,
    _ labels: [String: String]?
  ) -> [String] {
    var lines: [String] = []
    for (index, route) in rule.spec.http.enumerated() {
      let title = route.name.isEmpty ? "Route \(index + 1)" : "Route \(route.name)"
      let matches = route.match.isEmpty ? "all requests" : "\(route.match.count) match(es)"
      lines.append("   \(title): \(matches)")
      for one in route.route {
        lines.append(
          "      "
            + text(
              of: one.destination, weight: one.weight, isOnly: route.route.count == 1, rule,
              service,
              destinations, labels))
      }
      if route.hasRedirect { lines.append("      redirects") }
      if route.hasFault { lines.append("      injects a fault") }
    }
    let streams =
      rule.spec.tcp.map { ("TCP", $0.route) } + rule.spec.tls.map { ("TLS", $0.route) }
    for (kind, routes) in streams {
      lines.append("   \(kind) route")
      for one in routes {
        lines.append(
          "      "
            + text(
              of: one.destination, weight: one.weight, isOnly: routes.count == 1, rule, service,
              destinations, labels))
      }
    }
    return lines
  }

  private func text(
    of destination: Destination, weight: Int32, isOnly: Bool, _ rule: Rule<VirtualService>,
    _ service: MeshService, _ destinations: EffectiveRule?, _ labels: [String: String]?
  ) -> String {
    let host = snapshot.fullName(destination.host, in: rule.namespace)
    var text = isOnly ? "to " : "weight \(weight) to "
    text += host == service.hostname ? "this service" : host
    guard scope.service(named: host) != nil else { return text + ": NO SUCH SERVICE" }
    guard !destination.subset.isEmpty else { return text }
    text += ", subset \(destination.subset)"
    guard host == service.hostname else { return text }
    guard let subset = destinations?.subset(destination.subset) else {
      return text + ": NO SUCH SUBSET in a DestinationRule"
    }
    guard let labels else { return text }
    return text + (labels.contains(labels: subset.labels) ? " (this pod)" : " (not this pod)")
  }

  private static func leads(
    _ spec: VirtualService, to host: String, _ fullName: (String) -> String
  ) -> Bool {
    spec.http.flatMap(\.route).contains { fullName($0.destination.host) == host }
      || spec.tcp.flatMap(\.route).contains { fullName($0.destination.host) == host }
      || spec.tls.flatMap(\.route).contains { fullName($0.destination.host) == host }
  }

  private static func policy(_ policy: TrafficPolicy?) -> String {
    guard let policy else { return "No traffic policy" }
    var parts: [String] = []
    if policy.hasTls { parts.append("TLS \(policy.tls.mode)".uppercased()) }
    if policy.hasLoadBalancer { parts.append("load balancer") }
    if policy.hasConnectionPool { parts.append("connection pool") }
    if policy.hasOutlierDetection { parts.append("outlier detection") }
    if !policy.portLevelSettings.isEmpty { parts.append("settings of ports") }
    return "Traffic policy: \(parts.isEmpty ? "empty" : parts.joined(separator: ", "))"
  }

  // MARK: Policies

  private func policies(for workload: MeshWorkload, _ objects: [MeshObject]) -> [String] {
    var lines: [String] = []
    let root = snapshot.settings.rootNamespace
    for object in objects.sorted(by: { $0.id < $1.id })
    where object.namespace == workload.namespace || object.namespace == root {
      switch object.spec {
      case .authorizationPolicy(let spec) where spec.targetRefs.isEmpty && !spec.hasTargetRef:
        lines.append(
          Self.line(
            object, spec.selector.matchLabels, workload,
            "\(spec.action), \(spec.rules.count) rule(s)".uppercasedFirstWord))
      case .peerAuthentication(let spec):
        lines.append(
          Self.line(
            object, spec.selector.matchLabels, workload, "mutual TLS \(spec.mtls.mode)"))
      case .envoyFilter(let spec) where spec.targetRefs.isEmpty:
        lines.append(
          Self.line(
            object, spec.workloadSelector.labels, workload,
            "\(spec.configPatches.count) patch(es)"))
      case .requestAuthentication(let spec):
        lines.append(
          Self.line(
            object, spec.selector.matchLabels, workload, "\(spec.jwtRules.count) issuer(s)"))
      case .telemetry(let spec) where spec.targetRefs.isEmpty && !spec.hasTargetRef:
        // One of the root namespace that selects workloads is for its own.
        guard object.namespace == workload.namespace || spec.selector.matchLabels.isEmpty else {
          continue
        }
        lines.append(
          Self.line(
            object, spec.selector.matchLabels, workload,
            "\(spec.accessLogging.count) entries about access logs"))
      default: break
      }
    }
    return (lines.isEmpty ? ["No policy is for it."] : lines)
  }

  private static func line(
    _ object: MeshObject, _ selector: [String: String], _ workload: MeshWorkload, _ effect: String
  ) -> String {
    let title = "\(object.id.kind.rawValue): \(name(object.id))"
    guard !workload.labels.contains(labels: selector) else { return "\(title): \(effect)" }
    let wrong = selector.filter { workload.labels[$0.key] != $0.value }
    return "\(title): not for this pod, which is not \(text(wrong))"
  }

  // MARK: Words

  private static func name(_ id: ObjectID) -> String { "\(id.name).\(id.namespace)" }

  private static func text(_ port: MeshPort) -> String {
    let name = port.name.isEmpty ? "" : port.name + " "
    return "\(name)\(port.number)/\(port.spoken.rawValue)"
  }

  private static func text(_ labels: [String: String]) -> String {
    labels.isEmpty
      ? "none"
      : labels.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ",")
  }

  private static func list(_ words: [String]) -> String { words.joined(separator: ", ") }
}

extension String {
  /// `deny, 2 rules` as `DENY, 2 rules`.
  fileprivate var uppercasedFirstWord: String {
    guard let end = firstIndex(of: ",") else { return uppercased() }
    return self[..<end].uppercased() + self[end...]
  }
}
