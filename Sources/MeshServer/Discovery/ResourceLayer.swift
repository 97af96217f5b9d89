import SwiftProtobuf
import Telemetry

/// A resource as clients get it. Its version is the hash of its content, so that whoever has it already
/// is not sent it again, whoever read the file that it is from.
struct ServedResource: Equatable {
  let name: String
  let version: String
  /// The same as a number, which is compared faster and kept in less.
  let hash: UInt64
  /// Of the name and the version.
  let fingerprint: UInt64
  let message: Google_Protobuf_Any
  /// Of a cluster, the endpoints that a proxy which was sent it waits for; nil when that is not known.
  let awaited: [String]?

  init(type: String, name: String, bytes: [UInt8], awaited: [String]? = nil) {
    self.name = name
    self.awaited = awaited
    version = XXHash64.hexadecimal(bytes)
    hash = SentVersions.number(of: version) ?? 0
    fingerprint = SentVersions.fingerprint(name, hash)
    message = .with {
      $0.typeURL = type
      $0.value = .init(bytes)
    }
  }
}

/// All resources of one type in a layer, and by what names they differ from those that it had before.
/// Immutable.
final class ResourceKind {
  /// The sum of all fingerprints: two with the same are the same.
  let digest: UInt64
  /// In the order of their names.
  let sorted: [ServedResource]
  private let indices: [String: Int]
  /// What changed, step by step, the last one leading here.
  private let steps: [Step]

  private struct Step {
    let from: UInt64
    let names: [String]
  }

  /// Whoever is further behind compares everything.
  private static let steps = 32

  /// - Parameters:
  ///   - list: of a name, the first counts.
  ///   - older: what this is in the place of.
  convenience init(_ list: [ServedResource], after older: ResourceKind? = nil) {
    var seen: Set<String> = []
    let sorted = list.filter { seen.insert($0.name).inserted }.sorted { $0.name < $1.name }
    let indices = Dictionary(
      sorted.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
    var changed: [String] = []
    if let older {
      changed = sorted.filter { older[$0.name]?.hash != $0.hash }.map(\.name)
      changed += older.sorted.filter { indices[$0.name] == nil }.map(\.name)
    }
    self.init(sorted, indices, after: older, changed)
  }

  private init(
    _ sorted: [ServedResource], _ indices: [String: Int], after older: ResourceKind?,
    _ changed: [String]
  ) {
    self.sorted = sorted
    self.indices = indices
    digest = sorted.reduce(0) { $0 &+ $1.fingerprint }
    steps =
      older.map { $0.steps.suffix(Self.steps - 1) + [Step(from: $0.digest, names: changed)] } ?? []
  }

  subscript(name: String) -> ServedResource? { indices[name].map { sorted[$0] } }

  /// The same with other content for some names; nil when one of those is new.
  func replacing(_ changed: [ServedResource]) -> ResourceKind? {
    var sorted = sorted
    var names: [String] = []
    for resource in changed {
      guard let index = indices[resource.name] else { return nil }
      guard sorted[index].hash != resource.hash else { continue }
      sorted[index] = resource
      names.append(resource.name)
    }
    return names.isEmpty ? self : ResourceKind(sorted, indices, after: self, names)
  }

  /// The names of what may differ from what it was at a digest; nil when nobody remembers.
  func changes(since digest: UInt64) -> [String]? {
    if digest == self.digest { return [] }
    guard let first = steps.lastIndex(where: { $0.from == digest }) else { return nil }
    return steps[first...].flatMap(\.names)
  }
}

/// Resources that several clients may share. Immutable.
final class ResourceLayer {
  let kinds: [String: ResourceKind]

  /// - Parameters:
  ///   - resources: by type's URL; of a name, the first counts.
  ///   - older: what this is in the place of.
  init(_ resources: [String: [ServedResource]], after older: ResourceLayer? = nil) {
    var kinds: [String: ResourceKind] = [:]
    for (type, list) in resources {
      let known = older?.kinds[type]
      let made = ResourceKind(list, after: known)
      if let known, known.digest == made.digest { kinds[type] = known } else { kinds[type] = made }
    }
    // A type of which nothing is left: those who had some hear which.
    for (type, kind) in older?.kinds ?? [:] where kinds[type] == nil {
      kinds[type] = kind.sorted.isEmpty ? kind : ResourceKind([], after: kind)
    }
    self.kinds = kinds
  }

  private init(kinds: [String: ResourceKind]) { self.kinds = kinds }

  /// The same with other resources of some types.
  func replacing(_ resources: [String: [ServedResource]]) -> ResourceLayer {
    var kinds = kinds
    for (type, list) in resources {
      let made = ResourceKind(list, after: kinds[type])
      if kinds[type]?.digest != made.digest { kinds[type] = made }
    }
    return ResourceLayer(kinds: kinds)
  }

  /// The same with other content for some resources of a type; nil when one of those is new.
  func replacing(_ changed: [ServedResource], of type: String) -> ResourceLayer? {
    guard !changed.isEmpty else { return self }
    guard let kind = kinds[type]?.replacing(changed) else { return nil }
    var kinds = kinds
    kinds[type] = kind
    return ResourceLayer(kinds: kinds)
  }
}
