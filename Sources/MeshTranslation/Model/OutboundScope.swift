import MeshMessages
import MeshModel

/// What one proxy sees of the mesh: the services that are exported to its namespace, as far as its
/// Sidecar lets it, and the rules for them.
struct OutboundScope {
  let snapshot: MeshSnapshot
  let node: ProxyNode
  /// Those of the proxy's workload, of its namespace, or of the root namespace; in this order.
  let sidecar: Rule<Sidecar>?
  let services: [MeshService]
  /// Of the mesh's own gateway, that is, of sidecars; the oldest first.
  let virtualServices: [Rule<VirtualService>]
  private let index = ScopeIndex()

  init(_ snapshot: MeshSnapshot, for node: ProxyNode) {
    self.snapshot = snapshot
    self.node = node
    let sidecar = Self.sidecar(of: node, in: snapshot)
    self.sidecar = sidecar
    let egress = sidecar?.spec.egress.flatMap(\.hosts)
    services = Self.services(of: node, in: snapshot, egress: egress)
    virtualServices = snapshot.virtualServices.filter { rule in
      let gateways = rule.spec.gateways
      guard gateways.isEmpty || gateways.contains("mesh") else { return false }
      guard
        snapshot.isVisible(
          rule.spec.exportTo, default: snapshot.settings.virtualServiceExportTo,
          of: rule.namespace, from: node.namespace)
      else { return false }
      guard let egress else { return true }
      return rule.spec.hosts.contains { host in
        Self.imports(
          egress, host: snapshot.fullName(host, in: rule.namespace), of: rule.namespace,
          into: node.namespace)
      }
    }
  }

  /// Requests to what no service has go where their client meant.
  var allowsAny: Bool {
    if let sidecar, sidecar.spec.hasOutboundTrafficPolicy {
      return sidecar.spec.outboundTrafficPolicy.mode == .allowAny
    }
    return snapshot.settings.allowsAnyOutbound
  }

  /// What the proxy writes of requests and connections.
  func accessLogs(
    _ mode: AccessLogs.Mode, _ profile: ClientProfile, _ notes: OmissionNotes
  ) -> [AccessLogs.Log] {
    index.accessLogs(mode) { AccessLogs.logs(mode, snapshot, for: node, profile, notes) }
  }

  private static func sidecar(of node: ProxyNode, in snapshot: MeshSnapshot) -> Rule<Sidecar>? {
    let own = snapshot.sidecars.filter { $0.namespace == node.namespace }
    let selected = own.first {
      $0.spec.hasWorkloadSelector && node.labels.contains(labels: $0.spec.workloadSelector.labels)
    }
    return selected ?? own.first { !$0.spec.hasWorkloadSelector }
      ?? snapshot.sidecars.first {
        $0.namespace == snapshot.settings.rootNamespace && !$0.spec.hasWorkloadSelector
      }
  }

  private static func services(
    of node: ProxyNode, in snapshot: MeshSnapshot, egress: [String]?
  ) -> [MeshService] {
    var seen: [String: Int] = [:]
    var found: [MeshService] = []
    for service in snapshot.registry.services {
      guard
        snapshot.isVisible(
          service.exportTo, default: snapshot.settings.serviceExportTo, of: service.namespace,
          from: node.namespace)
      else { continue }
      if let egress,
        !imports(egress, host: service.hostname, of: service.namespace, into: node.namespace)
      {
        continue
      }
      // Of one hostname in several namespaces the proxy's own wins, then Kubernetes', then the oldest.
      if let known = seen[service.hostname] {
        let isCloser =
          service.namespace == node.namespace && found[known].namespace != node.namespace
        if isCloser { found[known] = service }
        continue
      }
      seen[service.hostname] = found.count
      found.append(service)
    }
    return found
  }

  /// Whether a Sidecar's `namespace/host` patterns let something in.
  private static func imports(
    _ egress: [String], host: String, of owner: String, into namespace: String
  ) -> Bool {
    egress.contains { entry in
      let parts = entry.split(separator: "/", maxSplits: 1).map(String.init)
      guard parts.count == 2 else { return false }
      let isFrom =
        switch parts[0] {
        case "*": true
        case "~": false
        case ".": owner == namespace
        default: owner == parts[0]
        }
      guard isFrom else { return false }
      return HostPattern.matches(parts[1], host) || HostPattern.matches(host, parts[1])
    }
  }

  /// The service of a hostname, if the proxy sees one.
  func service(named host: String) -> MeshService? {
    index.places(services)[host].map { services[$0] }
  }

  /// Whether the proxy sees a service that a host, perhaps with `*`, covers.
  func hasService(coveredBy host: String) -> Bool {
    guard host.hasPrefix("*") else { return service(named: host) != nil }
    return services.contains { HostPattern.matches(host, $0.hostname) }
  }

  /// The virtual services that name a host, in full or with `*`; the oldest first.
  func virtualServices(for host: String) -> [Rule<VirtualService>] {
    let found = index.rules(virtualServices, in: snapshot)
    let exact = found.byHost[host] ?? []
    let patterns = found.patterns.filter { HostPattern.matches($0.host, host) }.map(\.place)
    guard !patterns.isEmpty else { return exact.map { virtualServices[$0] } }
    return Set(exact + patterns).sorted().map { virtualServices[$0] }
  }

  /// The virtual service that counts for a host: one that names it in full before one with `*`, the
  /// longest of those; the oldest of the same.
  func virtualService(for host: String) -> Rule<VirtualService>? {
    let found = index.rules(virtualServices, in: snapshot)
    if let place = found.byHost[host]?.first { return virtualServices[place] }
    var best: (place: Int, length: Int)?
    for pattern in found.patterns where HostPattern.matches(pattern.host, host) {
      let length = pattern.host == host ? Int.max : pattern.host.utf8.count
      if best.map({ length > $0.length }) ?? true { best = (pattern.place, length) }
    }
    return best.map { virtualServices[$0.place] }
  }

  // MARK: Rules for a service

  /// What the destination rules say about a service: of the proxy's namespace, else of the service's,
  /// else of the root namespace (Istio's order). Of several for one host in one namespace, the oldest
  /// one's policy counts, with the subsets of all.
  func destinationRule(for service: MeshService) -> EffectiveRule? {
    index.destinationRule(of: service) { effectiveRule(for: service) }
  }

  private func effectiveRule(for service: MeshService) -> EffectiveRule? {
    var looked: Set<String> = []
    for namespace in [node.namespace, service.namespace, snapshot.settings.rootNamespace]
    where looked.insert(namespace).inserted {
      let covering = snapshot.destinationRules(in: namespace, covering: service.hostname)
      let rules = covering.filter { rule in
        snapshot.isVisible(
          rule.spec.exportTo, default: snapshot.settings.destinationRuleExportTo,
          of: namespace, from: node.namespace)
          && (!rule.spec.hasWorkloadSelector
            || (namespace == node.namespace
              && node.labels.contains(labels: rule.spec.workloadSelector.matchLabels)))
      }
      guard !rules.isEmpty else { continue }
      // A host in full beats one with `*`, and the longer of two such wins.
      let longest = rules.map { specificity($0.spec.host) }.max() ?? 0
      let best = rules.filter { specificity($0.spec.host) == longest }
      // One that is meant for this workload beats those for all.
      let first = best.first { $0.spec.hasWorkloadSelector } ?? best[0]
      return EffectiveRule(first, others: best.filter { $0.object.id != first.object.id })
    }
    return nil
  }

  private func specificity(_ host: String) -> Int {
    host.hasPrefix("*") ? host.utf8.count : 1_000_000
  }
}

/// What destination rules for one host say together.
struct EffectiveRule {
  let origin: ObjectID
  let policy: TrafficPolicy?
  let subsets: [Subset]
  /// It names the workloads that it is for.
  let isForWorkloads: Bool

  init(_ rule: Rule<DestinationRule>, others: [Rule<DestinationRule>]) {
    origin = rule.object.id
    isForWorkloads = rule.spec.hasWorkloadSelector
    policy = rule.spec.hasTrafficPolicy ? rule.spec.trafficPolicy : nil
    var subsets = rule.spec.subsets
    var names = Set(subsets.map(\.name))
    for other in others where !other.spec.hasWorkloadSelector {
      for subset in other.spec.subsets where names.insert(subset.name).inserted {
        subsets.append(subset)
      }
    }
    self.subsets = subsets
  }

  /// The subset of a name.
  func subset(_ name: String) -> Subset? { subsets.first { $0.name == name } }

  /// What holds for a port of the service, or of one of its subsets: block by block, a subset's own
  /// before the rule's, and a port's before both.
  func policy(port: UInt32, subset: Subset?) -> TrafficPolicy {
    var result = policy.map { Self.resolve($0, port: port) } ?? TrafficPolicy()
    guard let subset, subset.hasTrafficPolicy else { return result }
    let own = Self.resolve(subset.trafficPolicy, port: port)
    if own.hasLoadBalancer { result.loadBalancer = own.loadBalancer }
    if own.hasConnectionPool { result.connectionPool = own.connectionPool }
    if own.hasOutlierDetection { result.outlierDetection = own.outlierDetection }
    if own.hasTls { result.tls = own.tls }
    if own.hasTunnel { result.tunnel = own.tunnel }
    if own.hasProxyProtocol { result.proxyProtocol = own.proxyProtocol }
    if own.hasRetryBudget { result.retryBudget = own.retryBudget }
    return result
  }

  private static func resolve(_ policy: TrafficPolicy, port: UInt32) -> TrafficPolicy {
    var result = policy
    result.portLevelSettings = []
    guard let level = policy.portLevelSettings.first(where: { $0.port.number == port }) else {
      return result
    }
    // A port's settings stand for themselves: what they leave out is the default, not the rule's
    // (Istio: "fields omitted at port level are not inherited").
    var own = TrafficPolicy()
    if level.hasLoadBalancer { own.loadBalancer = level.loadBalancer }
    if level.hasConnectionPool { own.connectionPool = level.connectionPool }
    if level.hasOutlierDetection { own.outlierDetection = level.outlierDetection }
    if level.hasTls { own.tls = level.tls }
    return own
  }
}
