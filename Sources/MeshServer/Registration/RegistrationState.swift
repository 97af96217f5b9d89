import MeshModel
import MeshTranslation

/// The workloads that register themselves: each proxy that names a WorkloadGroup is an entry of it for as
/// long as it is connected, and for a grace period after, since most that go come back. It is told what
/// happens and says what there is; it knows no stream, no clock and no file.
struct RegistrationState {
  /// What a proxy says of its application.
  enum Health: Equatable {
    /// Nothing yet.
    case unknown
    case healthy
    case unhealthy(String)
  }

  /// One workload.
  struct Entry: Equatable {
    let group: ObjectID
    var address: String
    var labels: [String: String]
    var locality: MeshLocality
    var health = Health.unknown
    /// The streams that its proxy has: two for a moment when it comes back before the first is noticed to
    /// be gone.
    fileprivate(set) var streams: Set<UInt64> = []
    /// When the last stream ended, in milliseconds; nil while there is one.
    fileprivate(set) var goneAt: UInt64?
  }

  private(set) var entries: [ObjectID: Entry] = [:]
  private var idByStream: [UInt64: ObjectID] = [:]
  private let graceMilliseconds: UInt64
  /// Workloads that may be registered at a time: whoever connects may be one, and each costs a part of what
  /// all are sent.
  private static let limit = 20_000

  init(graceMilliseconds: UInt64) { self.graceMilliseconds = graceMilliseconds }

  /// The entry that a proxy is; nil when it names no group, or has no address.
  static func id(of node: ProxyNode) -> ObjectID? {
    guard !node.autoRegisterGroup.isEmpty, let address = node.addresses.first else { return nil }
    // Istio: the group and the address, with what no name may have replaced.
    let suffix = address.map { $0.isHexDigit || $0 == "." ? $0.lowercased() : "-" }.joined()
    return ObjectID(.workloadEntry, node.namespace, "\(node.autoRegisterGroup)-\(suffix)")
  }

  /// So many labels a workload may have.
  private static let labels = 64

  /// Whether Kubernetes would take the text in a label.
  private static func isLabel(_ text: String, most: Int) -> Bool {
    text.utf8.count <= most
      && text.utf8.allSatisfy {
        ($0 | 0x20) >= UInt8(ascii: "a") && ($0 | 0x20) <= UInt8(ascii: "z")
          || $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9")
          || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: ".")
          || $0 == UInt8(ascii: "/")
      }
  }

  /// A proxy has come. Whether there is something else now.
  mutating func connected(_ node: ProxyNode, stream: UInt64) -> Bool {
    guard let id = Self.id(of: node), let address = node.addresses.first,
      entries[id] != nil || entries.count < Self.limit
    else { return false }
    let before = entries[id]
    var entry =
      before
      ?? Entry(
        group: ObjectID(.workloadGroup, node.namespace, node.autoRegisterGroup), address: address,
        labels: node.labels, locality: node.locality)
    // A file holds everybody's: what no object could have is left out of it.
    entry.labels = node.labels.filter {
      Self.isLabel($0.key, most: 317) && Self.isLabel($0.value, most: 63)
    }
    if entry.labels.count > Self.labels { entry.labels = [:] }
    entry.locality = node.locality
    entry.streams.insert(stream)
    entry.goneAt = nil
    entries[id] = entry
    idByStream[stream] = id
    return before?.labels != entry.labels || before?.locality != entry.locality
  }

  /// A proxy has gone, perhaps to come back.
  mutating func disconnected(stream: UInt64, at now: UInt64) {
    guard let id = idByStream.removeValue(forKey: stream) else { return }
    entries[id]?.streams.remove(stream)
    if entries[id]?.streams.isEmpty ?? false { entries[id]?.goneAt = now }
  }

  /// A proxy says how its application is. Whether that is news.
  mutating func report(_ health: Health, stream: UInt64) -> Bool {
    guard let id = idByStream[stream], entries[id]?.health != health else { return false }
    entries[id]?.health = health
    return true
  }

  /// Takes over what an earlier process has left, as if all of it had gone now: it has the grace period to
  /// come back.
  mutating func restore(_ id: ObjectID, _ entry: Entry, at now: UInt64) {
    guard entries[id] == nil, entries.count < Self.limit else { return }
    var entry = entry
    entry.goneAt = now
    entries[id] = entry
  }

  /// Takes those away that have not come back in time. Whether there were any.
  mutating func expire(at now: UInt64) -> Bool {
    let late = entries.filter { entry in
      entry.value.goneAt.map { $0 + graceMilliseconds <= now } ?? false
    }
    for id in late.keys { entries[id] = nil }
    return !late.isEmpty
  }

  /// When the next one is late; nil when none is gone.
  var nextDeadline: UInt64? {
    entries.values.compactMap(\.goneAt).min().map { $0 + graceMilliseconds }
  }
}
