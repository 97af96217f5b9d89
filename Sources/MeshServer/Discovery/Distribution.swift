import MeshModel
import MeshTranslation

/// Whether what follows from an object is where it has to be: with every client that it is for, and
/// accepted. A client that has accepted all there is has accepted this; of one that has not, it is found
/// out what the object has to do with what is missing, by making the client's resources once more without
/// the object, and with it as it was before.
struct Distribution {
  /// One thing that a client lacks.
  struct Gap: Equatable {
    let type: String
    let name: String
    let standing: Standing
    /// The client's own words, where it has refused something of the type.
    let reason: String
  }

  private typealias TypeURL = ResourceSet.TypeURL

  /// Resources by type and name: those that have to do with an object.
  typealias Names = [String: Set<String>]

  private let mesh: MeshSource
  private var generation: UInt64 = 0
  private var rulesGeneration: UInt64 = 0
  private var others: [ObjectID: [MeshSource]] = [:]
  private var affected: [AffectedKey: Names] = [:]
  /// By the digests of all listeners and clusters.
  private var namedByAll: [[UInt64]: Names] = [:]

  private struct AffectedKey: Hashable {
    let id: ObjectID
    /// Of the object, and of those that were in its place.
    let digests: [String]
    let keys: [ProxyNode.Key]
  }

  /// So many objects are looked at one by one.
  private static let examined = 16

  init(_ mesh: MeshSource) { self.mesh = mesh }

  /// What a client lacks of what follows from an object; nothing: it is live there.
  mutating func gaps(
    of stream: DiscoveryStream, for node: ProxyNode, _ ids: [ObjectID]
  ) -> [Gap] {
    let set = stream.resources(for: node)
    let all = gaps(stream.state, for: node, set)
    guard !all.isEmpty else { return [] }
    // What each of many objects leads to costs a mesh each: then everything has to be there.
    guard ids.count <= Self.examined else { return all }
    let names = ids.map { affectedNames($0, node, set) }
    return all.filter { gap in
      names.contains { affected in
        guard let named = affected[gap.type], !named.isEmpty else { return false }
        // Of a type that the client has not asked for at all, everything is missing.
        return gap.name.isEmpty || named.contains(gap.name)
      }
    }
  }

  /// Everything that a client lacks of what there is for it.
  mutating func gaps(_ state: StreamState, for node: ProxyNode, _ set: ResourceSet) -> [Gap] {
    // A proxy that has not asked for listeners yet will ask for all, and for their routes.
    let takesAll = TypeURL.wildcard.allSatisfy {
      state.subscriptions[$0]?.isWildcard ?? (node.client != .grpc)
    }
    var wanted: [String: Set<String>] = takesAll ? namedByAll(in: set) : [:]
    var gaps: [Gap] = []
    // Routes come after listeners and endpoints after clusters, each naming what it leads to.
    for type in [TypeURL.listener, TypeURL.routes, TypeURL.cluster, TypeURL.endpoints] {
      let subscription = state.subscriptions[type]
      if subscription == nil, node.client != .grpc, TypeURL.wildcard.contains(type) {
        gaps.append(Gap(type: type, name: "", standing: .unasked, reason: ""))
        continue
      }
      let isWildcard = subscription?.isWildcard ?? false
      var names = wanted[type] ?? []
      if let subscription { names.formUnion(subscription.names) }
      let resources =
        isWildcard ? set.all(of: type) : names.compactMap { set.resource(of: type, $0) }
      if !takesAll {
        for reference in resources.flatMap(ResourceReferences.of) {
          wanted[reference.type, default: []].insert(reference.name)
        }
      }
      let isSettled = subscription?.isSettled(at: set.digests(of: type)) ?? false
      if isSettled, isWildcard || names.isSubset(of: subscription?.names ?? []) { continue }
      if isWildcard { names.formUnion(resources.map(\.name)) }
      names.formUnion(subscription.map { Set($0.sent.names) } ?? [])
      gaps += names.sorted().compactMap { name in
        Self.gap(type, name, subscription, set, isWildcard)
      }
    }
    return gaps
  }

  /// What a client asks for that takes all listeners and clusters.
  private mutating func namedByAll(in set: ResourceSet) -> Names {
    forgetOutdated()
    let key = set.digests(of: TypeURL.listener) + set.digests(of: TypeURL.cluster)
    if let known = namedByAll[key] { return known }
    var names: Names = [:]
    for type in TypeURL.wildcard {
      for reference in set.all(of: type).flatMap(ResourceReferences.of)
      where !TypeURL.wildcard.contains(reference.type) {
        names[reference.type, default: []].insert(reference.name)
      }
    }
    namedByAll[key] = names
    return names
  }

  /// What was found out of an earlier mesh.
  private mutating func forgetOutdated() {
    guard generation != mesh.generation else { return }
    generation = mesh.generation
    others = [:]
    // Where workloads run does not change what a rule has to do with.
    guard rulesGeneration != mesh.rulesGeneration else { return }
    rulesGeneration = mesh.rulesGeneration
    affected = [:]
    namedByAll = [:]
  }

  private static func gap(
    _ type: String, _ name: String, _ subscription: Subscription?, _ set: ResourceSet,
    _ isWildcard: Bool
  ) -> Gap? {
    let resource = isWildcard ? set.resource(of: type, name) : set.answer(of: type, for: name)
    let standing =
      subscription?.standing(of: name, hash: resource?.hash)
      ?? (resource == nil ? .accepted : .unasked)
    guard standing != .accepted else { return nil }
    return Gap(
      type: type, name: name, standing: standing, reason: subscription?.refusal ?? "")
  }

  // MARK: What has to do with an object

  private mutating func affectedNames(
    _ id: ObjectID, _ node: ProxyNode, _ set: ResourceSet
  ) -> Names {
    forgetOutdated()
    let versions = [mesh.store.entries[id]?.object] + (mesh.older[id] ?? [])
    let key = AffectedKey(
      id: id, digests: versions.map { $0?.digest ?? "" },
      keys: [node.inboundKey(in: mesh.snapshot), node.outboundKey(in: mesh.snapshot)])
    if let known = affected[key] { return known }
    var names: Names = [:]
    guard !mesh.isForgotten(id) else {
      // It changed too often: everything may be its doing.
      for type in ResourceSet.TypeURL.pushOrder { names[type] = Set(set.all(of: type).map(\.name)) }
      return names
    }
    for other in meshes(without: id) {
      names.merge(Self.differences(set, other.resources(for: node))) { $0.union($1) }
    }
    if node.client == .grpc { Self.follow(&names, in: set) }
    affected[key] = names
    return names
  }

  /// A library asks for what its routes lead to when it has them: before it has that, too, it sends nothing
  /// there.
  private static func follow(_ names: inout Names, in set: ResourceSet) {
    for type in [TypeURL.listener, TypeURL.routes, TypeURL.cluster] {
      for name in names[type] ?? [] {
        for reference in set.resource(of: type, name).map(ResourceReferences.of) ?? [] {
          names[reference.type, default: []].insert(reference.name)
        }
      }
    }
  }

  /// The mesh without an object, and with what it was before.
  private mutating func meshes(without id: ObjectID) -> [MeshSource] {
    if let known = others[id] { return known }
    let rest = mesh.store.objects.filter { $0.id != id }
    var made = [mesh.aside(rest)]
    made += (mesh.older[id] ?? []).compactMap { older in older.map { mesh.aside(rest + [$0]) } }
    // A mesh each: those of a few questions are kept.
    if others.count >= Self.examined { others = [:] }
    others[id] = made
    return made
  }

  /// The names by which two sets differ.
  static func differences(_ one: ResourceSet, _ other: ResourceSet) -> Names {
    var names: Names = [:]
    for type in [TypeURL.cluster, TypeURL.endpoints, TypeURL.listener, TypeURL.routes] {
      let left = Dictionary(uniqueKeysWithValues: one.all(of: type).map { ($0.name, $0.hash) })
      let right = Dictionary(uniqueKeysWithValues: other.all(of: type).map { ($0.name, $0.hash) })
      let changed = Set(left.keys).union(right.keys).filter { left[$0] != right[$0] }
      if !changed.isEmpty { names[type] = changed }
    }
    return names
  }
}
