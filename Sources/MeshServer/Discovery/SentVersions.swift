import Telemetry

/// Which versions of resources a client has, by their names.
struct SentVersions {
  private var versions: [String: UInt64] = [:]
  /// The sum of all fingerprints, which is the version of the whole.
  private(set) var digest: UInt64 = 0

  /// The client was told that there is none of this name.
  static let absent: UInt64 = 0

  init() {}

  /// What a client says that it has; versions that are not ours are nothing that we know.
  init(_ known: some Sequence<(key: String, value: String)>) {
    for (name, version) in known {
      if let hash = Self.number(of: version) { self[name] = hash }
    }
  }

  var count: Int { versions.count }
  var names: Dictionary<String, UInt64>.Keys { versions.keys }

  subscript(name: String) -> UInt64? {
    get { versions[name] }
    set {
      let older =
        newValue.map { versions.updateValue($0, forKey: name) }
        ?? versions.removeValue(forKey: name)
      if let older { digest &-= Self.fingerprint(name, older) }
      if let newValue { digest &+= Self.fingerprint(name, newValue) }
    }
  }

  mutating func note(_ resource: ServedResource) {
    let older = versions.updateValue(resource.hash, forKey: resource.name)
    guard older != resource.hash else { return }
    if let older { digest &-= Self.fingerprint(resource.name, older) }
    digest &+= resource.fingerprint
  }

  /// Of one resource.
  static func fingerprint(_ name: String, _ hash: UInt64) -> UInt64 {
    var bytes = Array(name.utf8)
    bytes.append(0)
    for shift in stride(from: 0, to: 64, by: 8) {
      bytes.append(UInt8(truncatingIfNeeded: hash >> shift))
    }
    return XXHash64.hash(bytes)
  }

  /// Nil for what is no version of ours.
  static func number(of version: String) -> UInt64? {
    version.utf8.count == 16 ? UInt64(version, radix: 16) : nil
  }

  /// As it is written.
  static func text(_ number: UInt64) -> String {
    let digits = String(number, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}
