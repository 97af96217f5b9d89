import Glibc

/// What names and addresses look like.
enum NameSyntax {
  /// A label of DNS (RFC 1123 §2.1): letters, digits and hyphens, at most 63, no hyphen at an end.
  static func isLabel(_ text: some StringProtocol) -> Bool {
    let bytes = Array(text.utf8)
    guard (1...63).contains(bytes.count), bytes.first != hyphen, bytes.last != hyphen else {
      return false
    }
    return bytes.allSatisfy { isLetterOrDigit($0) || $0 == hyphen }
  }

  /// A name of a host: labels, the last of which is no number.
  static func isDomain(_ text: some StringProtocol) -> Bool {
    guard (1...255).contains(text.utf8.count) else { return false }
    let labels = text.split(separator: ".", omittingEmptySubsequences: false)
    guard labels.allSatisfy({ isLabel($0) }), let last = labels.last else { return false }
    return labels.count == 1 || !last.utf8.allSatisfy(isDigit)
  }

  /// A host, or `*` for what stands before the rest of one.
  static func isPattern(_ text: some StringProtocol) -> Bool {
    if text == "*" { return true }
    guard text.hasPrefix("*") else { return isDomain(text) }
    let rest = text.dropFirst()
    return (rest.hasPrefix(".") || rest.hasPrefix("-")) && isDomain(rest.dropFirst())
  }

  /// The name of an object, a namespace or a subset.
  static func isSubset(_ text: String) -> Bool { isDomain(text) || isLabel(text) }

  /// A token of HTTP (RFC 9110 §5.6.2).
  static func isHeader(_ text: String) -> Bool {
    !text.isEmpty
      && text.utf8.allSatisfy { isLetterOrDigit($0) || "!#$%&'*+-.^_`|~".utf8.contains($0) }
  }

  /// The address of a host, in IPv4 or IPv6.
  static func isAddress(_ text: String) -> Bool { bits(of: text) != nil }

  /// `10.0.0.0/8`, or a single address.
  static func isSubnet(_ text: String) -> Bool {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count <= 2, let bits = bits(of: String(parts[0])) else { return false }
    guard parts.count == 2 else { return true }
    guard parts[1].utf8.allSatisfy(isDigit), let length = Int(parts[1]) else { return false }
    return length <= bits
  }

  private static func bits(of address: String) -> Int? {
    // SAFETY: both structures are as large as their family's addresses.
    var v4 = in_addr()
    if unsafe inet_pton(AF_INET, address, &v4) == 1 { return 32 }
    var v6 = in6_addr()
    return unsafe inet_pton(AF_INET6, address, &v6) == 1 ? 128 : nil
  }

  private static let hyphen = UInt8(ascii: "-")

  private static func isDigit(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
  }

  private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
    isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
  }
}
