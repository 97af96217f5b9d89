import Engine

/// A permission's or a principal's tree, laid out flat: behind a node stands its first child, and
/// behind a child's whole tree its next sibling.
package struct AccessCondition: BitwiseCopyable {
  /// One node.
  struct Node: BitwiseCopyable {
    let test: Test
    /// The place behind its tree.
    let end: Int32
  }

  /// What a node asks.
  enum Test: BitwiseCopyable {
    case always
    /// Of a kind that no subject here can have.
    case never
    case all
    case any
    /// Its one child must not match.
    case not
    case header(HeaderMatcher)
    case path(StringMatcher)
    case address(AccessAddress, AddressRange)
    /// From `start` up to but not including `end`.
    case port(start: Int64, end: Int64)
    case serverName(StringMatcher)
    /// A client that speaks TLS, whoever it is.
    case secured
    /// A client whose certificate has such a name.
    case authenticated(StringMatcher)
    case metadata(MetadataMatcher)
  }

  private let nodes: Table<Node>

  init(_ nodes: [Node]) { self.nodes = .configured(nodes) }

  /// Whether the subject is as the tree asks.
  func matches(_ subject: some AccessSubject) -> Bool { matches(at: 0, subject) }

  /// A tree is as deep as the document that it came from, which has a bound.
  private func matches(at index: Int, _ subject: some AccessSubject) -> Bool {
    switch nodes[index].test {
    case .always: true
    case .never: false
    case .all: !hasChild(of: index, matching: false, subject)
    case .any: hasChild(of: index, matching: true, subject)
    case .not: hasChild(of: index, matching: false, subject)
    case .header(let matcher): subject.fits(matcher)
    case .path(let matcher): subject.path.map { matcher.matches(Self.bare($0)) } ?? false
    case .address(let which, let range): range.contains(subject.address(which))
    case .port(let start, let end): Self.isPort(of: subject, from: start, to: end)
    case .serverName(let matcher): subject.fitsServerName(matcher)
    case .secured: subject.isSecured
    case .authenticated(let matcher): Self.isAuthenticated(subject, by: matcher)
    case .metadata(let matcher):
      matcher.matches(matcher.key.flatMap { subject.metadata(matcher.space, $0) })
    }
  }

  private func hasChild(
    of index: Int, matching wanted: Bool, _ subject: some AccessSubject
  ) -> Bool {
    let end = Int(nodes[index].end)
    var child = index &+ 1
    while child < end {
      if matches(at: child, subject) == wanted { return true }
      child = Int(nodes[child].end)
    }
    return false
  }

  /// A path without its query and fragment.
  private static func bare(_ path: Bytes) -> Bytes {
    var index = 0
    while index < path.count {
      if path[index] == UInt8(ascii: "?") || path[index] == UInt8(ascii: "#") {
        return path.prefix(index)
      }
      index &+= 1
    }
    return path
  }

  private static func isPort(
    of subject: some AccessSubject, from start: Int64, to end: Int64
  ) -> Bool {
    let address = subject.address(.destination)
    guard address.isKnown, !address.isUnix else { return false }
    return Int64(address.port) >= start && Int64(address.port) < end
  }

  /// Whether a name of the certificate fits: one of its URIs, or else one of its DNS names, or else,
  /// its subject.
  private static func isAuthenticated(
    _ subject: some AccessSubject, by matcher: StringMatcher
  ) -> Bool {
    guard subject.isSecured else { return false }
    var index = 0
    while let name = subject.peerName(.uri, index) {
      if matcher.matches(name) { return true }
      index &+= 1
    }
    index = 0
    while let name = subject.peerName(.dns, index) {
      if matcher.matches(name) { return true }
      index &+= 1
    }
    return matcher.matches(subject.peerName(.subject, 0) ?? .empty)
  }
}
