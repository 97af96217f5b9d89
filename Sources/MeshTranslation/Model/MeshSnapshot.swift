import MeshMessages
import MeshModel

/// One of Istio's objects, with what it says.
package struct Rule<Spec: Sendable>: Sendable {
  package let object: MeshObject
  package let spec: Spec

  package var namespace: String { object.namespace }
}

/// The mesh at one time: settings, services, rules. Immutable; everything that a proxy is told is made
/// from it and from the proxy's node alone.
package struct MeshSnapshot: Sendable {
  package let settings: MeshSettings
  package private(set) var registry: Registry
  /// All of these with the oldest first.
  package private(set) var virtualServices: [Rule<VirtualService>] = []
  package private(set) var destinationRules: [Rule<DestinationRule>] = []
  package private(set) var gateways: [Rule<Gateway>] = []
  package private(set) var sidecars: [Rule<Sidecar>] = []
  package private(set) var authorizationPolicies: [Rule<AuthorizationPolicy>] = []
  package private(set) var requestAuthentications: [Rule<RequestAuthentication>] = []
  package private(set) var peerAuthentications: [Rule<PeerAuthentication>] = []
  package private(set) var telemetries: [Rule<Telemetry>] = []
  /// The same by namespace.
  private(set) var telemetriesByNamespace: [String: [Rule<Telemetry>]] = [:]
  package private(set) var proxyConfigs: [Rule<ProxyConfig>] = []
  /// What EnvoyFilters say.
  private(set) var envoyPatches = EnvoyPatches()
  /// Destination rules by namespace and host, and those with `*` by namespace: places in the list.
  private(set) var destinationRulesByHost: [String: [Int]] = [:]
  private(set) var destinationPatterns: [String: [Int]] = [:]
  /// The same by namespace.
  let peerRules: [String: PeerRules]
  package let domain: String
  /// What a proxy gets may depend on its workload's labels, and not on its namespace alone.
  package let dependsOnLabels: Bool
  /// A proxy's own address is not among those of a service without one.
  package let dependsOnAddresses: Bool

  package init(
    objects: [MeshObject], registered: [MeshWorkload] = [], options: RegistryOptions = .init()
  ) {
    domain = options.domain
    registry = Registry(objects: objects, registered: registered, options: options)
    var settings = MeshSettings()
    var filters: [Rule<EnvoyFilter>] = []
    settings.trustDomain = options.trustDomain
    for object in objects.sorted(by: { $0.precedes($1) }) {
      switch object.spec {
      case .meshConfig(let config):
        settings = MeshSettings(config, trustDomain: options.trustDomain)
        settings.origin = object.id
      case .virtualService(let spec): virtualServices.append(.init(object: object, spec: spec))
      case .destinationRule(let spec): destinationRules.append(.init(object: object, spec: spec))
      case .gateway(let spec): gateways.append(.init(object: object, spec: spec))
      case .sidecar(let spec): sidecars.append(.init(object: object, spec: spec))
      case .authorizationPolicy(let spec):
        authorizationPolicies.append(.init(object: object, spec: spec))
      case .requestAuthentication(let spec):
        requestAuthentications.append(.init(object: object, spec: spec))
      case .envoyFilter(let spec): filters.append(.init(object: object, spec: spec))
      case .peerAuthentication(let spec):
        peerAuthentications.append(.init(object: object, spec: spec))
      case .telemetry(let spec): telemetries.append(.init(object: object, spec: spec))
      case .proxyConfig(let spec): proxyConfigs.append(.init(object: object, spec: spec))
      default: break
      }
    }
    self.settings = settings
    telemetriesByNamespace = Dictionary(grouping: telemetries, by: \.namespace)
    envoyPatches = EnvoyPatches(filters, root: settings.rootNamespace)
    let matches = virtualServices.flatMap { rule in
      rule.spec.http.flatMap(\.match).map(\.sourceLabels)
        + rule.spec.tcp.flatMap(\.match).map(\.sourceLabels)
        + rule.spec.tls.flatMap(\.match).map(\.sourceLabels)
    }
    dependsOnLabels =
      matches.contains { !$0.isEmpty }
      || destinationRules.contains { $0.spec.hasWorkloadSelector }
      || sidecars.contains { $0.spec.hasWorkloadSelector }
      || destinationRules.contains { Self.prefersByLabels($0.spec) }
      || telemetries.contains { !$0.isForAll }
      || !(settings.localityLB?.failoverPriority.isEmpty ?? true)
    dependsOnAddresses = registry.services.contains(where: \.isHeadless)
    peerRules = PeerRules.index(peerAuthentications)
    for (place, rule) in destinationRules.enumerated() {
      let host = fullName(rule.spec.host, in: rule.namespace)
      if host.hasPrefix("*") {
        destinationPatterns[rule.namespace, default: []].append(place)
      } else {
        destinationRulesByHost[rule.namespace + "/" + host, default: []].append(place)
      }
    }
  }

  /// The same mesh with other endpoints: its services are the same.
  package func replacing(_ registry: Registry) -> MeshSnapshot {
    var snapshot = self
    snapshot.registry = registry
    return snapshot
  }

  /// The destination rules of a namespace that cover a host, the oldest first.
  func destinationRules(in namespace: String, covering host: String) -> [Rule<DestinationRule>] {
    let exact = destinationRulesByHost[namespace + "/" + host] ?? []
    let patterns = (destinationPatterns[namespace] ?? []).filter {
      HostPattern.matches(fullName(destinationRules[$0].spec.host, in: namespace), host)
    }
    return (patterns.isEmpty ? exact : (exact + patterns).sorted()).map { destinationRules[$0] }
  }

  private static func prefersByLabels(_ rule: DestinationRule) -> Bool {
    ([rule.trafficPolicy] + rule.subsets.map(\.trafficPolicy)).contains { policy in
      !policy.loadBalancer.localityLbSetting.failoverPriority.isEmpty
        || policy.portLevelSettings.contains {
          !$0.loadBalancer.localityLbSetting.failoverPriority.isEmpty
        }
    }
  }

  /// A host as a rule writes it, in full: a word without a dot is a service of the rule's namespace.
  package func fullName(_ host: String, in namespace: String) -> String {
    guard !host.contains("."), !host.hasPrefix("*"), !host.isEmpty else { return host }
    return "\(host).\(namespace).svc.\(domain)"
  }

  /// Whether something that is exported so is seen from a namespace.
  package func isVisible(
    _ exportTo: [String], default standard: [String], of owner: String, from namespace: String
  ) -> Bool {
    for word in exportTo.isEmpty ? standard : exportTo {
      switch word {
      case "*": return true
      case "~": return false
      case ".": if owner == namespace { return true }
      default: if word == namespace { return true }
      }
    }
    return false
  }
}

/// Hosts as rules name them: whole, or with `*` for what stands before.
package enum HostPattern {
  /// Whether a pattern covers a host, which may be a pattern itself.
  package static func matches(_ pattern: String, _ host: String) -> Bool {
    if pattern == host || pattern == "*" { return true }
    guard pattern.hasPrefix("*") else { return false }
    return host.hasSuffix(pattern.dropFirst()) && host.utf8.count >= pattern.utf8.count
  }
}
