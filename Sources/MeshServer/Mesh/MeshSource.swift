import CLinux
import MeshAnalysis
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
  let options: RegistryOptions
  /// Told when a client comes or goes.
  var clientsChanged: (() -> Void)?
  /// Who is told of clients that are workloads of their own.
  weak var registrar: Registrar?
  /// Counts changes.
  private(set) var generation: UInt64 = 0
  /// Counts those of more than endpoints.
  private(set) var rulesGeneration: UInt64 = 0
  /// What objects were since every client had accepted everything, the oldest first; nil where there was
  /// none.
  private(set) var older: [ObjectID: [MeshObject?]] = [:]
  /// By what a part of a client's configuration depends on.
  private var cache: [ProxyNode.Key: Made] = [:]
  /// What was made from an earlier mesh: what is made in its place says what has changed.
  private var outdated: [ProxyNode.Key: ResourceLayer] = [:]
  /// What somebody has asked for since the last change, after which everybody who is connected does.
  private var used: Set<ProxyNode.Key> = []

  /// What was made for clients of one kind.
  private struct Made {
    var layer: ResourceLayer
    var omissions: [ConfigurationParts: [Omission]]
    /// What has to be made anew before it is served again.
    var stale: ConfigurationParts = []
  }

  init(options: RegistryOptions) {
    self.options = options
    store = MeshStore(check: ObjectCheck.check)
    snapshot = MeshSnapshot(objects: [], options: options)
  }

  /// What clients would be served if these were the objects.
  private init(objects: [MeshObject], options: RegistryOptions) {
    self.options = options
    store = MeshStore()
    snapshot = MeshSnapshot(objects: objects, options: options)
  }

  /// Another mesh of the same kind, which nobody is served.
  func aside(_ objects: [MeshObject]) -> MeshSource {
    MeshSource(objects: objects, options: options)
  }

  /// Versions of one object that are remembered, and objects: a client that accepts nothing for long must
  /// not make us keep everything that ever was.
  private static let olderVersions = 4
  private static let olderObjects = 1000

  /// It is not known any more what an object was when every client had accepted everything.
  func isForgotten(_ id: ObjectID) -> Bool {
    if let known = older[id] { return known.count > Self.olderVersions }
    return older.count >= Self.olderObjects
  }

  /// Forgets how objects were before they changed: every client has accepted what followed.
  func forgetOlder() { older = [:] }

  /// Notes how objects were before they change.
  private func remember(_ before: [ObjectID: MeshStore.Entry], _ changed: Set<ObjectID>) {
    generation += 1
    for id in changed {
      let count = older[id]?.count ?? 0
      guard count > 0 || older.count < Self.olderObjects else { continue }
      // One more than are looked at says that there were more.
      if count <= Self.olderVersions { older[id, default: []].append(before[id]?.object) }
    }
  }

  /// Takes over what stands in the files now; returns what has changed.
  func update(_ files: [String: [UInt8]]) -> Set<ObjectID> {
    let before = store.entries
    let changed = store.update(files)
    guard !changed.isEmpty else { return changed }
    remember(before, changed)
    // Of clients that have gone nothing is kept.
    cache = cache.filter { used.contains($0.key) }
    outdated = [:]
    used = []
    // Of a Secret nothing stands in other resources but its name.
    let others = changed.filter { $0.kind != .secret }
    if !others.isEmpty, !others.allSatisfy(\.kind.isAboutEndpoints) || !updateEndpoints() {
      rulesGeneration += 1
      updateRules(others)
    }
    return changed
  }

  /// Of what was made, that which may be different is made anew when somebody asks for it.
  private func updateRules(_ changed: Set<ObjectID>) {
    let newer = MeshSnapshot(objects: store.objects, options: options)
    let reach = ChangeReach(of: changed, from: snapshot, to: newer)
    snapshot = newer
    for (key, made) in cache {
      let parts = reach.parts(of: key)
      if parts == .all {
        outdated[key] = made.layer
        cache[key] = nil
      } else {
        cache[key]?.stale.formUnion(parts)
      }
    }
  }

  /// Nothing but workloads has changed, and where they are: the rules stand, and of what was made only
  /// the assignments of some services are made anew. False when that is not all there is to do.
  private func updateEndpoints() -> Bool {
    let registry = Registry(objects: store.objects, options: options)
    // Of others the addresses stand in clusters and listeners.
    guard let changes = registry.changes(since: snapshot.registry),
      changes.services.allSatisfy({ $0.resolution == .endpoints })
    else { return false }
    let newer = snapshot.replacing(registry)
    // Clusters name those whom they believe.
    guard
      changes.services.allSatisfy({ snapshot.identities(of: $0) == newer.identities(of: $0) })
    else { return false }
    snapshot = newer
    for (key, made) in cache {
      let layer = key.isInbound ? nil : adapt(made.layer, for: key.node, changes.services)
      if let layer {
        cache[key]?.layer = layer
      } else if !key.isInbound || !changes.addresses.isDisjoint(with: key.node.addresses) {
        outdated[key] = made.layer
        cache[key] = nil
      }
    }
    return true
  }

  /// A layer with the present endpoints of some services; nil when it has to be made anew.
  private func adapt(
    _ layer: ResourceLayer, for node: ProxyNode, _ services: [MeshService]
  ) -> ResourceLayer? {
    // A gateway's configuration depends on more than what is known here.
    guard node.role == .sidecar else { return nil }
    let type = ResourceSet.TypeURL.endpoints
    let made = ProxyConfiguration.endpoints(of: services, snapshot, for: node)
    return layer.replacing(
      made.compactMap { Self.served(type, $0.clusterName, $0) }, of: type)
  }

  private static func served(
    _ type: String, _ name: String, _ message: some Message, awaited: [String]? = nil
  ) -> ServedResource? {
    // Messages that were made here; only a defect could make one that is not written.
    guard let bytes = try? message.steadyBytes() else { return nil }
    return ServedResource(type: type, name: name, bytes: bytes, awaited: awaited)
  }

  // MARK: Secrets

  var credentialGeneration: UInt64 { generation }

  func credentials(for node: ProxyNode) -> Set<String> { snapshot.credentials(for: node) }

  func material(_ reference: CredentialReference, in namespace: String) -> SecretMaterial? {
    for name in reference.secrets {
      let id = ObjectID(.secret, namespace, name)
      guard case .secret(let secret) = store.entries[id]?.object?.spec else { continue }
      let material = SecretMaterial(secret)
      if reference.isTrust ? !material.trusted.isEmpty : material.isPair { return material }
    }
    return nil
  }

  // MARK: Clients

  func resources(for node: ProxyNode) -> ResourceSet {
    ResourceSet([inbound(of: node).layer, outbound(of: node).layer])
  }

  func omissions(for node: ProxyNode) -> [Omission] {
    let noted = [inbound(of: node), outbound(of: node)].flatMap(\.omissions.values)
    return Set(noted.joined()).sorted()
  }

  func connected(_ node: ProxyNode, stream: UInt64) {
    registrar?.connected(node, stream: stream)
    clientsChanged?()
  }
  func disconnected(_ node: ProxyNode, stream: UInt64) {
    registrar?.disconnected(stream: stream)
    clientsChanged?()
  }
  func reported(_ problem: String?, stream: UInt64) {
    registrar?.reported(problem, stream: stream)
  }

  private func outbound(of node: ProxyNode) -> Made {
    cached(node.outboundKey(in: snapshot)) { ProxyConfiguration.outbound(snapshot, for: node, $0) }
  }

  private func inbound(of node: ProxyNode) -> Made {
    cached(node.inboundKey(in: snapshot)) { _ in ProxyConfiguration.inbound(snapshot, for: node) }
  }

  private func cached(
    _ key: ProxyNode.Key, _ make: (ConfigurationParts) -> ProxyConfiguration
  ) -> Made {
    used.insert(key)
    let known = cache[key]
    if let known, known.stale.isEmpty { return known }
    let parts = known?.stale ?? .all
    let configuration = make(parts)
    let resources = Self.resources(of: configuration, parts)
    let layer =
      known?.layer.replacing(resources)
      ?? ResourceLayer(resources, after: outdated.removeValue(forKey: key))
    let omissions = (known?.omissions ?? [:]).merging(configuration.omissionsByPart) { $1 }
    let made = Made(layer: layer, omissions: omissions)
    cache[key] = made
    return made
  }

  /// By type, of each that a part has, also those of which there are none.
  private static func resources(
    of configuration: ProxyConfiguration, _ parts: ConfigurationParts
  ) -> [String: [ServedResource]] {
    typealias TypeURL = ResourceSet.TypeURL
    var resources: [String: [ServedResource]] = [:]
    func add<Made: Message>(
      _ part: ConfigurationParts, _ type: String, _ list: [Made], named name: (Made) -> String,
      awaited: (Made) -> [String]? = { _ in nil }
    ) {
      guard parts.contains(part) else { return }
      resources[type] = list.compactMap { served(type, name($0), $0, awaited: awaited($0)) }
    }
    add(
      .clusters, TypeURL.cluster, configuration.clusters, named: \.name,
      awaited: \.awaitedEndpoints)
    add(.endpoints, TypeURL.endpoints, configuration.endpoints, named: \.clusterName)
    add(.listeners, TypeURL.listener, configuration.listeners, named: \.name)
    add(.routes, TypeURL.routes, configuration.routes, named: \.name)
    add(.extensions, TypeURL.extensionConfig, configuration.extensions, named: \.name)
    return resources
  }
}
