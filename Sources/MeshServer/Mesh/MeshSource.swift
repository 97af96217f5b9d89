import CLinux
import MeshModel
import MeshTranslation
import ResourceModel
import Resources
import SwiftProtobuf

/// What clients are served from a directory of Istio's and Kubernetes' objects. What clients of one kind
/// and place have in common is made once for all of them.
final class MeshSource: ResourceSource {
  private(set) var store: MeshStore
  private(set) var snapshot: MeshSnapshot
  private let options: RegistryOptions
  /// By what a part of a client's configuration depends on.
  private var cache: [ProxyNode.Key: Made] = [:]

  /// What was made for clients of one kind.
  private struct Made {
    let layer: ResourceLayer
    let omissions: [Omission]
  }

  init(options: RegistryOptions) {
    self.options = options
    store = MeshStore()
    snapshot = MeshSnapshot(objects: [], options: options)
  }

  /// Takes over what stands in the files now; returns what has changed.
  func update(_ files: [String: [UInt8]]) -> Set<ObjectID> {
    let changed = store.update(files)
    guard !changed.isEmpty else { return changed }
    snapshot = MeshSnapshot(objects: store.objects, options: options)
    cache = [:]
    return changed
  }

  // MARK: Clients

  func resources(for node: ProxyNode) -> ResourceSet {
    ResourceSet([inbound(of: node).layer, outbound(of: node).layer])
  }

  func omissions(for node: ProxyNode) -> [Omission] {
    Set(inbound(of: node).omissions + outbound(of: node).omissions).sorted()
  }

  func connected(_ node: ProxyNode) {}
  func disconnected(_ node: ProxyNode) {}

  private func outbound(of node: ProxyNode) -> Made {
    cached(node.outboundKey(in: snapshot)) { ProxyConfiguration.outbound(snapshot, for: node) }
  }

  private func inbound(of node: ProxyNode) -> Made {
    cached(node.inboundKey) { ProxyConfiguration.inbound(snapshot, for: node) }
  }

  private func cached(_ key: ProxyNode.Key, _ make: () -> ProxyConfiguration) -> Made {
    if let known = cache[key] { return known }
    typealias TypeURL = ResourceSet.TypeURL
    let configuration = make()
    var resources: [String: [ServedResource]] = [:]
    func add(_ type: String, _ name: String, _ message: some Message) {
      // Messages that were made here; only a defect could make one that is not written.
      guard let bytes: [UInt8] = try? message.serializedBytes() else { return }
      resources[type, default: []].append(ServedResource(type: type, name: name, bytes: bytes))
    }
    for one in configuration.clusters { add(TypeURL.cluster, one.name, one) }
    for one in configuration.endpoints { add(TypeURL.endpoints, one.clusterName, one) }
    for one in configuration.listeners { add(TypeURL.listener, one.name, one) }
    for one in configuration.routes { add(TypeURL.routes, one.name, one) }
    let made = Made(layer: ResourceLayer(resources), omissions: configuration.omissions)
    cache[key] = made
    return made
  }
}
