import Engine

/// Finds a virtual host by the request's authority: an exact domain, else the longest suffix
/// (`*.example.com`), else the longest prefix (`example.*`), else `*`.
struct VirtualHostIndex: BitwiseCopyable {
  private let exact: ByteIndex
  private let suffixes: ByteIndex
  private let prefixes: ByteIndex
  private let catchAll: UInt32
  private let ignoresPort: Bool
  /// There is no domain but `*`.
  private let isCatchAll: Bool

  /// - Parameter domains: each with the position of its virtual host. Of equal domains the first
  ///   counts; the configuration's check refuses them.
  init(_ domains: [(key: String, value: UInt32)], ignoresPort: Bool) {
    var exact: [(key: Bytes, value: UInt32)] = []
    var suffixes = exact
    var prefixes = exact
    var catchAll = ByteIndex.absent
    for (domain, host) in domains {
      if domain == "*" {
        if catchAll == ByteIndex.absent { catchAll = host }
      } else if domain.hasPrefix("*") {
        suffixes.append((.configured(String(domain.dropFirst())), host))
      } else if domain.hasSuffix("*") {
        prefixes.append((.configured(String(domain.dropLast())), host))
      } else {
        exact.append((.configured(domain), host))
      }
    }
    isCatchAll = exact.isEmpty && suffixes.isEmpty && prefixes.isEmpty
    self.exact = ByteIndex(exact, ignoresCase: true)
    self.suffixes = ByteIndex(suffixes, ignoresCase: true, side: .end)
    self.prefixes = ByteIndex(prefixes, ignoresCase: true)
    self.catchAll = catchAll
    self.ignoresPort = ignoresPort
  }

  /// The position of the virtual host for `authority`.
  func find(_ authority: Bytes) -> Int? {
    if !isCatchAll, let found = findDomain(authority) { return found }
    return catchAll == ByteIndex.absent ? nil : Int(catchAll)
  }

  private func findDomain(_ authority: Bytes) -> Int? {
    let host = ignoresPort ? authority.withoutPort : authority
    if let found = exact.find(host) { return Int(found) }
    if let found = longest(in: suffixes, of: host) { return found }
    return longest(in: prefixes, of: host)
  }

  /// The star stands for at least one character.
  private func longest(in index: ByteIndex, of host: Bytes) -> Int? {
    var found: Int?
    index.forEachAffix(of: host) { length, value in
      if length < host.count { found = Int(value) }
    }
    return found
  }
}

extension Bytes {
  /// Where the port of a host begins, at its colon. IPv6 addresses stand in brackets.
  package var portStart: Int? {
    var index = count &- 1
    while index >= 0 {
      let byte = self[index]
      if byte == UInt8(ascii: ":") { return index }
      if byte == UInt8(ascii: "]") { return nil }
      index &-= 1
    }
    return nil
  }

  /// A host without its port.
  package var withoutPort: Bytes { portStart.map { self[0, $0] } ?? self }
}
