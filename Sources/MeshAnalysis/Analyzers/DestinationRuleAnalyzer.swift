import MeshMessages
import MeshModel
import MeshTranslation
import Resources

/// What DestinationRules are about, and whether it is there.
enum DestinationRuleAnalyzer {
  static func analyze(_ context: AnalysisContext) {
    for rule in context.snapshot.destinationRules {
      let host = context.snapshot.fullName(rule.spec.host, in: rule.namespace)
      let services =
        host.hasPrefix("*")
        ? context.snapshot.registry.services.filter {
          HostPattern.matches(host, $0.hostname) && context.isVisible($0, from: rule.namespace)
        } : context.services(rule.spec.host, from: rule.namespace)
      if services.isEmpty {
        context.report(
          .unknownHost, rule.object, .root["spec"]["host"],
          "The host \(rule.spec.host) defined in the DestinationRule does not match any services in "
            + "the mesh.")
      } else {
        checkSubsets(rule, services, context)
      }
      checkVerification(rule, context)
    }
  }

  private static func checkSubsets(
    _ rule: Rule<DestinationRule>, _ services: [MeshService], _ context: AnalysisContext
  ) {
    for (index, subset) in rule.spec.subsets.enumerated() {
      let isSelected = services.contains { service in
        has(service, subset.labels, context)
      }
      guard !isSelected else { continue }
      context.report(
        .subsetWithoutPods, rule.object, .root["spec"]["subsets"][index],
        "The Subset \(subset.name) defined in the DestinationRule does not select any pods. Which may "
          + "lead to 503 UH (NoHealthyUpstream).")
    }
  }

  /// Whether a service has an endpoint with these labels, now or when its pods have come.
  private static func has(
    _ service: MeshService, _ labels: [String: String], _ context: AnalysisContext
  ) -> Bool {
    let registry = context.snapshot.registry
    let isThere = service.ports.contains { port in
      registry.endpoints(of: service, port: port.number).contains {
        $0.labels.contains(labels: labels)
      }
    }
    if isThere || service.resolution == .dns || service.resolution == .dnsRoundRobin {
      return isThere || labels.isEmpty
    }
    guard !service.selector.isEmpty else { return false }
    return !context.index.places(
      in: service.namespace, with: service.selector.merging(labels) { _, own in own }
    ).isEmpty
  }

  private static func checkVerification(
    _ rule: Rule<DestinationRule>, _ context: AnalysisContext
  ) {
    func trustsAnybody(_ tls: Istio_Networking_V1alpha3_ClientTLSSettings) -> String? {
      guard tls.caCertificates.isEmpty, !tls.insecureSkipVerify.value else { return nil }
      guard tls.credentialName.isEmpty || !rule.spec.hasWorkloadSelector else { return nil }
      switch tls.mode {
      case .simple: return "SIMPLE"
      case .mutual: return "MUTUAL"
      default: return nil
      }
    }
    let policy = rule.spec.trafficPolicy
    let place = ConfigPath.root["spec"]["trafficPolicy"]
    let name = Words.name(rule.object)
    if policy.hasTls, let mode = trustsAnybody(policy.tls) {
      context.report(
        .unverifiedDestination, rule.object, place["tls"],
        "DestinationRule \(name) in namespace \(rule.namespace) has TLS mode set to \(mode) but no "
          + "caCertificates are set to validate server identity for host: \(rule.spec.host)")
    }
    for (index, port) in policy.portLevelSettings.enumerated() where port.hasTls {
      guard let mode = trustsAnybody(port.tls) else { continue }
      context.report(
        .unverifiedPort, rule.object, place["portLevelSettings"][index]["tls"],
        "DestinationRule \(name) in namespace \(rule.namespace) has TLS mode set to \(mode) but no "
          + "caCertificates are set to validate server identity for host: \(rule.spec.host) at port "
          + "number:\(port.port.number)")
    }
  }
}
