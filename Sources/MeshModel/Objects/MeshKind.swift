/// The kinds of objects that the control plane takes, by the names that people write.
package enum MeshKind: String, Sendable, CaseIterable, Comparable {
  // Kubernetes' own.
  case namespace = "Namespace"
  case node = "Node"
  case serviceAccount = "ServiceAccount"
  case service = "Service"
  case endpointSlice = "EndpointSlice"
  case pod = "Pod"
  case deployment = "Deployment"
  case secret = "Secret"
  // Istio's.
  case meshConfig = "MeshConfig"
  case virtualService = "VirtualService"
  case destinationRule = "DestinationRule"
  case gateway = "Gateway"
  case serviceEntry = "ServiceEntry"
  case workloadEntry = "WorkloadEntry"
  case workloadGroup = "WorkloadGroup"
  case sidecar = "Sidecar"
  case envoyFilter = "EnvoyFilter"
  case proxyConfig = "ProxyConfig"
  case peerAuthentication = "PeerAuthentication"
  case authorizationPolicy = "AuthorizationPolicy"
  case requestAuthentication = "RequestAuthentication"
  case telemetry = "Telemetry"

  package static func < (one: MeshKind, other: MeshKind) -> Bool { one.rawValue < other.rawValue }

  /// The API group; empty for Kubernetes' core.
  package var group: String {
    switch self {
    case .namespace, .node, .serviceAccount, .service, .pod, .secret: ""
    case .endpointSlice: "discovery.k8s.io"
    case .deployment: "apps"
    case .meshConfig: "mesh.istio.io"
    case .virtualService, .destinationRule, .gateway, .serviceEntry, .workloadEntry,
      .workloadGroup, .sidecar, .envoyFilter, .proxyConfig:
      "networking.istio.io"
    case .peerAuthentication, .authorizationPolicy, .requestAuthentication: "security.istio.io"
    case .telemetry: "telemetry.istio.io"
    }
  }

  /// The versions that are read, the newest first. They say the same.
  package var versions: [String] {
    switch self {
    case .namespace, .node, .serviceAccount, .service, .pod, .secret: ["v1"]
    case .endpointSlice: ["v1", "v1beta1"]
    case .deployment: ["v1", "v1beta2", "v1beta1"]
    case .meshConfig: ["v1alpha1"]
    case .envoyFilter: ["v1alpha3"]
    case .proxyConfig: ["v1beta1"]
    case .peerAuthentication, .authorizationPolicy, .requestAuthentication: ["v1", "v1beta1"]
    case .telemetry: ["v1", "v1alpha1"]
    case .virtualService, .destinationRule, .gateway, .serviceEntry, .workloadEntry,
      .workloadGroup, .sidecar:
      ["v1", "v1beta1", "v1alpha3"]
    }
  }

  /// `networking.istio.io/v1`: what an object of the kind says first.
  package var apiVersion: String { Self.join(group, versions[0]) }

  /// Whether an object of this kind may say that.
  package func takes(apiVersion: String) -> Bool {
    // What Deployment was called until Kubernetes 1.16; old files still do.
    if self == .deployment, apiVersion == "extensions/v1beta1" { return true }
    return versions.contains { Self.join(group, $0) == apiVersion }
  }

  /// Objects of the kind belong to no namespace.
  package var isClusterWide: Bool {
    switch self {
    case .namespace, .node, .meshConfig: true
    default: false
    }
  }

  /// Objects of the kind say where workloads are, and nothing else.
  package var isAboutEndpoints: Bool {
    switch self {
    case .pod, .endpointSlice, .workloadEntry, .node: true
    default: false
    }
  }

  /// Whether the kind is one of Istio's.
  package var isIstio: Bool { group.hasSuffix("istio.io") }

  /// The full name of the message that objects of the kind are read as.
  var message: String { (isIstio ? "fairlead.mesh.v1." : "kubernetes.") + rawValue }

  private static func join(_ group: String, _ version: String) -> String {
    group.isEmpty ? version : group + "/" + version
  }
}
