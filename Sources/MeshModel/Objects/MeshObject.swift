import MeshMessages
import Resources

/// What names an object: no two have the same.
package struct ObjectID: Hashable, Sendable, Comparable, CustomStringConvertible {
  package let kind: MeshKind
  /// Empty for kinds that belong to none.
  package let namespace: String
  package let name: String

  package init(_ kind: MeshKind, _ namespace: String, _ name: String) {
    self.kind = kind
    self.namespace = namespace
    self.name = name
  }

  /// `VirtualService default/reviews`.
  package var description: String {
    kind.rawValue + " " + (namespace.isEmpty ? "" : namespace + "/") + name
  }

  package static func < (one: ObjectID, other: ObjectID) -> Bool {
    (one.kind, one.namespace, one.name) < (other.kind, other.namespace, other.name)
  }
}

/// An object of the mesh, as it is in force. Immutable.
package struct MeshObject: Sendable {
  package let id: ObjectID
  package let spec: MeshSpec
  package let labels: [String: String]
  package let annotations: [String: String]
  /// Seconds since 1970, as RFC 3339 text from the object; empty when it does not say.
  package let creationTimestamp: String
  /// When it first came, in order: what decides between two that conflict and do not say when they
  /// were made.
  package var sequence: UInt64
  /// Where it is written.
  package let file: String
  package let line: Int
  /// Of its content: two with the same are the same.
  package let digest: String

  package init(
    id: ObjectID, spec: MeshSpec, labels: [String: String] = [:],
    annotations: [String: String] = [:], creationTimestamp: String = "", sequence: UInt64 = 0,
    file: String = "", line: Int = 0, digest: String = ""
  ) {
    self.id = id
    self.spec = spec
    self.labels = labels
    self.annotations = annotations
    self.creationTimestamp = creationTimestamp
    self.sequence = sequence
    self.file = file
    self.line = line
    self.digest = digest
  }

  package var namespace: String { id.namespace }
  package var name: String { id.name }

  /// Whether this one was there first (Istio: the oldest wins, and of the same age the first by name).
  package func precedes(_ other: MeshObject) -> Bool {
    if creationTimestamp != other.creationTimestamp, !creationTimestamp.isEmpty,
      !other.creationTimestamp.isEmpty
    {
      return creationTimestamp < other.creationTimestamp
    }
    if sequence != other.sequence { return sequence < other.sequence }
    return (name, namespace) < (other.name, other.namespace)
  }
}

/// What is an object's own.
package enum MeshSpec: Sendable {
  case namespace
  case node
  case serviceAccount
  case service(Kubernetes_ServiceSpec)
  case endpointSlice(Kubernetes_EndpointSlice)
  case pod(Kubernetes_PodSpec, Kubernetes_PodStatus)
  case deployment(Kubernetes_DeploymentSpec)
  case secret(Kubernetes_Secret)
  case meshConfig(MeshConfig)
  case virtualService(VirtualService)
  case destinationRule(DestinationRule)
  case gateway(Gateway)
  case serviceEntry(ServiceEntry)
  case workloadEntry(WorkloadEntry)
  case workloadGroup(WorkloadGroup)
  case sidecar(Sidecar)
  case envoyFilter(EnvoyFilter)
  case proxyConfig(ProxyConfig)
  case peerAuthentication(PeerAuthentication)
  case authorizationPolicy(AuthorizationPolicy)
  case requestAuthentication(RequestAuthentication)
  case telemetry(Telemetry)
}
