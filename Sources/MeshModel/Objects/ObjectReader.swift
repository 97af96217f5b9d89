import MeshMessages
import Resources
import SwiftProtobuf
import Telemetry

/// Reads objects from what people write, and says what is wrong with those that are wrong.
package enum ObjectReader {
  /// Istio's and Kubernetes' messages.
  package static let schema = ObjectSchema(
    table: meshSchemaTable, names: istioNames, owner: "Istio", openPackage: "kubernetes.")

  /// What became of one document.
  package struct Reading {
    /// Nil when the document does not even say whose it is.
    package let id: ObjectID?
    /// What it says; nil when something is wrong with it.
    package let object: MeshObject?
    /// What is wrong, and what is doubtful.
    package let diagnostics: [Diagnostic]
    /// The typed content, for whoever looks for places in it.
    package let read: ReadObject?
  }

  /// Reads one object.
  /// - Parameter defaultNamespace: of objects that name none.
  package static func read(
    _ document: ObjectDocument, defaultNamespace: String = "default"
  ) -> Reading {
    guard let kindName = document.kind, !kindName.isEmpty else {
      return refusal(document.mistake("an object has a 'kind' and an 'apiVersion'"))
    }
    guard let kind = MeshKind(rawValue: kindName) else {
      let names = MeshKind.allCases.map(\.rawValue)
      return refusal(
        document.mistake(
          at: "kind",
          "no kind '\(kindName)' is known here" + Suggestion.phrase(for: kindName, among: names)))
    }
    guard let apiVersion = document.apiVersion, kind.takes(apiVersion: apiVersion) else {
      return refusal(
        document.mistake(
          at: document.apiVersion == nil ? nil : "apiVersion",
          "expected 'apiVersion: \(kind.apiVersion)' for a \(kindName)"))
    }
    guard let read = document.read(as: kind.message, in: schema) else {
      return refusal(document.mistake("internal error: no message \(kind.message)"))
    }
    return finish(read, kind, document, defaultNamespace)
  }

  /// Which object a document is, without looking at the rest of it; nil when it does not say.
  package static func identify(
    _ document: ObjectDocument, defaultNamespace: String = "default"
  ) -> ObjectID? {
    guard let kind = document.kind.flatMap({ MeshKind(rawValue: $0) }) else { return nil }
    let metadata = document.value["metadata"]
    guard let name = metadata?["name"]?.text, !name.isEmpty else { return nil }
    let namespace = metadata?["namespace"]?.text ?? ""
    return ObjectID(
      kind, kind.isClusterWide ? "" : namespace.isEmpty ? defaultNamespace : namespace, name)
  }

  private static func refusal(_ mistake: Diagnostic) -> Reading {
    Reading(id: nil, object: nil, diagnostics: [mistake], read: nil)
  }

  private static func finish(
    _ read: ReadObject, _ kind: MeshKind, _ document: ObjectDocument, _ defaultNamespace: String
  ) -> Reading {
    let metadata = read.tree.root.field("metadata")
    let name = metadata?.field("name")?.stringValue ?? ""
    let namespace = metadata?.field("namespace")?.stringValue ?? ""
    if name.isEmpty {
      read.diagnostics.error(at: .root.field("metadata"), "an object has a 'metadata.name'")
      return Reading(id: nil, object: nil, diagnostics: read.diagnostics.all, read: read)
    }
    let id = ObjectID(
      kind, kind.isClusterWide ? "" : namespace.isEmpty ? defaultNamespace : namespace, name)
    let bytes = read.bytes
    var object: MeshObject?
    if !read.diagnostics.hasErrors {
      do {
        let (metadata, spec) = try decode(kind, bytes)
        object = MeshObject(
          id: id, spec: spec, labels: metadata.labels, annotations: metadata.annotations,
          creationTimestamp: metadata.creationTimestamp, file: document.file, line: document.line,
          digest: XXHash64.hexadecimal(bytes))
      } catch {
        // The writer's own bytes; only a defect leads here.
        read.diagnostics.error(at: .root, "internal error: \(error)")
      }
    }
    return Reading(id: id, object: object, diagnostics: read.diagnostics.all, read: read)
  }

  private static func decode(
    _ kind: MeshKind, _ bytes: [UInt8]
  ) throws -> (Kubernetes_ObjectMeta, MeshSpec) {
    switch kind {
    case .namespace:
      return (try Kubernetes_Namespace(serializedBytes: bytes).metadata, .namespace)
    case .node: return (try Kubernetes_Node(serializedBytes: bytes).metadata, .node)
    case .serviceAccount:
      return (try Kubernetes_ServiceAccount(serializedBytes: bytes).metadata, .serviceAccount)
    case .service:
      let object = try Kubernetes_Service(serializedBytes: bytes)
      return (object.metadata, .service(object.spec))
    case .endpointSlice:
      let object = try Kubernetes_EndpointSlice(serializedBytes: bytes)
      return (object.metadata, .endpointSlice(object))
    case .pod:
      let object = try Kubernetes_Pod(serializedBytes: bytes)
      return (object.metadata, .pod(object.spec, object.status))
    case .deployment:
      let object = try Kubernetes_Deployment(serializedBytes: bytes)
      return (object.metadata, .deployment(object.spec))
    case .secret:
      let object = try Kubernetes_Secret(serializedBytes: bytes)
      return (object.metadata, .secret(object))
    case .virtualService:
      let object = try Fairlead_Mesh_V1_VirtualService(serializedBytes: bytes)
      return (object.metadata, .virtualService(object.spec))
    case .destinationRule:
      let object = try Fairlead_Mesh_V1_DestinationRule(serializedBytes: bytes)
      return (object.metadata, .destinationRule(object.spec))
    case .gateway:
      let object = try Fairlead_Mesh_V1_Gateway(serializedBytes: bytes)
      return (object.metadata, .gateway(object.spec))
    case .serviceEntry:
      let object = try Fairlead_Mesh_V1_ServiceEntry(serializedBytes: bytes)
      return (object.metadata, .serviceEntry(object.spec))
    case .workloadEntry:
      let object = try Fairlead_Mesh_V1_WorkloadEntry(serializedBytes: bytes)
      return (object.metadata, .workloadEntry(object.spec))
    case .workloadGroup:
      let object = try Fairlead_Mesh_V1_WorkloadGroup(serializedBytes: bytes)
      return (object.metadata, .workloadGroup(object.spec))
    case .sidecar:
      let object = try Fairlead_Mesh_V1_Sidecar(serializedBytes: bytes)
      return (object.metadata, .sidecar(object.spec))
    case .envoyFilter:
      // Free-form values are several messages a level.
      var options = BinaryDecodingOptions()
      options.messageDepthLimit = YAMLLimits.depth * 3
      let object = try Fairlead_Mesh_V1_EnvoyFilter(serializedBytes: bytes, options: options)
      return (object.metadata, .envoyFilter(object.spec))
    case .proxyConfig:
      let object = try Fairlead_Mesh_V1_ProxyConfig(serializedBytes: bytes)
      return (object.metadata, .proxyConfig(object.spec))
    case .peerAuthentication:
      let object = try Fairlead_Mesh_V1_PeerAuthentication(serializedBytes: bytes)
      return (object.metadata, .peerAuthentication(object.spec))
    case .authorizationPolicy:
      let object = try Fairlead_Mesh_V1_AuthorizationPolicy(serializedBytes: bytes)
      return (object.metadata, .authorizationPolicy(object.spec))
    case .requestAuthentication:
      let object = try Fairlead_Mesh_V1_RequestAuthentication(serializedBytes: bytes)
      return (object.metadata, .requestAuthentication(object.spec))
    case .telemetry:
      let object = try Fairlead_Mesh_V1_Telemetry(serializedBytes: bytes)
      return (object.metadata, .telemetry(object.spec))
    case .meshConfig:
      let object = try Fairlead_Mesh_V1_MeshConfig(serializedBytes: bytes)
      return (object.metadata, .meshConfig(object.spec))
    }
  }
}
