import MeshMessages
import MeshModel
import Resources

/// What the mesh asks of those who take part: their labels, and whom they run as.
enum WorkloadAnalyzer {
  /// Whom the proxy runs as: what it sends is not captured.
  static let proxyUser: Int64 = 1337

  static func analyze(_ context: AnalysisContext) {
    var deployed: Set<[String]> = []
    for workload in context.workloads where workload.isDeployment {
      if let app = workload.labels["app"] { deployed.insert([workload.namespace, app]) }
    }
    for workload in context.workloads {
      guard let object = workload.object else { continue }
      switch object.spec {
      case .pod(let spec, _):
        checkUsers(object, spec, .root["spec"], context)
        // Of a Deployment's pods, the Deployment is told.
        let app = workload.labels["app"].map { [workload.namespace, $0] }
        if !(app.map(deployed.contains) ?? false) {
          checkLabels(object, workload.labels, .root["metadata"]["labels"], context)
        }
      case .deployment(let spec):
        let template = ConfigPath.root["spec"]["template"]
        checkUsers(object, spec.template.spec, template["spec"], context)
        checkLabels(object, workload.labels, template["metadata"]["labels"], context)
      default: break
      }
    }
  }

  private static func checkUsers(
    _ object: MeshObject, _ spec: Kubernetes_PodSpec, _ path: ConfigPath,
    _ context: AnalysisContext
  ) {
    func check(_ security: Kubernetes_SecurityContext, _ path: ConfigPath) {
      guard security.runAsUser.value == proxyUser else { return }
      context.report(
        .invalidUser, object, path["securityContext"]["runAsUser"],
        "User ID (UID) 1337 is reserved for the sidecar proxy.")
    }
    check(spec.securityContext, path)
    for (field, containers) in [
      ("containers", spec.containers), ("initContainers", spec.initContainers),
    ] {
      for (index, container) in containers.enumerated()
      where container.name != "istio-proxy" && container.name != "istio-init" {
        check(container.securityContext, path[field][index])
      }
    }
  }

  /// Labels that say what a workload is, of which one must be there, by what they say.
  private static let needed = [
    ("app", ["app", "app.kubernetes.io/name", "service.istio.io/canonical-name"]),
    (
      "version",
      ["version", "app.kubernetes.io/version", "service.istio.io/canonical-revision"]
    ),
  ]

  private static func checkLabels(
    _ object: MeshObject, _ labels: [String: String], _ path: ConfigPath,
    _ context: AnalysisContext
  ) {
    let missing = needed.filter { _, names in names.allSatisfy { labels[$0] == nil } }.map(\.0)
    guard !missing.isEmpty else { return }
    let names = missing.map { "'\($0)'" }.joined(separator: " and ")
    context.report(
      .missingLabels, object, path,
      "The pods have no label \(names): subsets and metrics cannot tell them apart by it.")
  }
}

/// Annotations of Istio's that nobody would look at where they are.
enum AnnotationAnalyzer {
  /// Annotations, and the kinds that they are for.
  private static let known: [String: [MeshKind]] = [
    "galley.istio.io/analyze-suppress": MeshKind.allCases,
    "networking.istio.io/exportTo": [.service],
    "networking.istio.io/traffic-distribution": [.service, .serviceEntry, .namespace],
    "istio.io/dry-run": [.authorizationPolicy],
    // Says which services a gateway needs besides: here it sees all of them.
    "envoyfilter.istio.io/referenced-services": [.envoyFilter],
    "istio.io/rev": MeshKind.allCases,
    "proxy.istio.io/config": [.pod, .deployment],
    "proxy.istio.io/overrides": [.pod, .deployment],
    "inject.istio.io/templates": [.pod, .deployment],
    "prometheus.istio.io/merge-metrics": [.pod, .deployment],
    "readiness.status.sidecar.istio.io/initialDelaySeconds": [.pod, .deployment],
    "readiness.status.sidecar.istio.io/periodSeconds": [.pod, .deployment],
    "readiness.status.sidecar.istio.io/failureThreshold": [.pod, .deployment],
    "readiness.status.sidecar.istio.io/applicationPorts": [.pod, .deployment],
    "ambient.istio.io/redirection": [.pod, .deployment],
    "topology.istio.io/controlPlaneClusters": [.namespace],
    "traffic.istio.io/nodeSelector": [.service],
  ]

  /// Beginnings of names that a workload may have.
  private static let ofWorkloads = [
    "sidecar.istio.io/", "traffic.sidecar.istio.io/", "status.sidecar.istio.io/",
  ]

  static func analyze(_ context: AnalysisContext) {
    for object in context.objects {
      check(object.annotations, of: object, .root["metadata"]["annotations"], context)
      if case .deployment(let spec) = object.spec {
        check(
          spec.template.metadata.annotations, of: object,
          .root["spec"]["template"]["metadata"]["annotations"], context)
      }
    }
  }

  private static func check(
    _ annotations: [String: String], of object: MeshObject, _ path: ConfigPath,
    _ context: AnalysisContext
  ) {
    guard !annotations.isEmpty else { return }
    for (name, value) in annotations.sorted(by: { $0.key < $1.key }) {
      guard let slash = name.firstIndex(of: "/"), name[..<slash].hasSuffix("istio.io") else {
        continue
      }
      let kinds: [MeshKind]? =
        ofWorkloads.contains(where: name.hasPrefix) ? [.pod, .deployment] : known[name]
      guard let kinds else {
        context.report(.unknownAnnotation, object, path.key(name), "Unknown annotation: \(name)")
        continue
      }
      guard kinds.contains(object.id.kind) else {
        let names = kinds.map(\.rawValue).sorted().joined(separator: " or ")
        context.report(
          .misplacedAnnotation, object, path.key(name),
          "Misplaced annotation: \(name) can only be applied to \(names)")
        continue
      }
      if let problem = problem(name, value) {
        context.report(
          .invalidAnnotation, object, path.key(name), "Invalid annotation \(name): \(problem)")
      }
    }
  }

  private static func problem(_ name: String, _ value: String) -> String? {
    switch name {
    case ObjectReader.proxyConfigAnnotation:
      guard case .failure(let mistake) = ObjectReader.proxyConfig(value) else { return nil }
      return mistake.message
    case "sidecar.istio.io/inject", "istio.io/dry-run", "sidecar.istio.io/rewriteAppHTTPProbers":
      return ["true", "false"].contains(value) ? nil : "'\(value)' is neither true nor false"
    case "sidecar.istio.io/interceptionMode":
      return ["REDIRECT", "TPROXY", "NONE"].contains(value)
        ? nil : "'\(value)' is none of REDIRECT, TPROXY and NONE"
    case _ where name.hasPrefix("traffic.sidecar.istio.io/") && name.hasSuffix("Ports"):
      let bad = value.split(separator: ",").map { $0.filter { $0 != " " } }.first {
        $0 != "*" && !(UInt32($0).map { (1...65_535).contains($0) } ?? false)
      }
      return bad.map { "'\($0)' is no port" }
    case _ where name.hasPrefix("traffic.sidecar.istio.io/") && name.hasSuffix("IPRanges"):
      let bad = value.split(separator: ",").map { $0.filter { $0 != " " } }.first {
        $0 != "*" && !NameSyntax.isSubnet($0)
      }
      return bad.map { "'\($0)' is no subnet" }
    default: return nil
    }
  }
}
