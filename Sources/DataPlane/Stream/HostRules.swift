import CLinux
import Engine

/// What an authority may look like, and what stands in it (RFC 3986 §3.2, RFC 9112 §3.2).
enum HostRules {
  /// `host` or `host:port`, where host is a registered name, an IPv4 address, or an IPv6 address in
  /// brackets; without user information.
  static func isValid(_ authority: Bytes) -> Bool {
    guard !authority.isEmpty else { return true }
    // Most are nothing else: a name of letters, digits, hyphens and dots.
    let end = plainEnd(of: authority)
    if end == authority.count { return true }
    let (host, port) = split(authority)
    if let port {
      guard port.count <= 5, port.isEmpty || (port.decimal ?? 65536) <= 65535 else { return false }
    }
    guard !host.isEmpty else { return false }
    if host[0] == UInt8(ascii: "[") {
      return host.count > 2 && host[host.count - 1] == UInt8(ascii: "]")
        && isAddressText(host[1, host.count - 1])
    }
    var index = min(end, host.count)
    while index < host.count {
      let byte = host[index]
      if isPlain(byte) {
        index &+= 1
        continue
      }
      guard isNameMark(byte) else { return false }
      if byte == UInt8(ascii: "%") {
        guard index + 2 < host.count, ASCII.hex(host[index + 1]) < 16,
          ASCII.hex(host[index + 2]) < 16
        else { return false }
      }
      index &+= 1
    }
    return true
  }

  @inline(__always)
  private static func isPlain(_ byte: UInt8) -> Bool {
    (byte | 32) &- 97 < 26 || byte &- 45 < 13 && byte != UInt8(ascii: "/")
  }

  @inline(__always)
  private static func plainEnd(of authority: Bytes) -> Int {
    var index = 0
    while index < authority.count, isPlain(authority[index]) { index &+= 1 }
    return index
  }

  /// The other bytes of a registered name: unreserved, percent-encoded and sub-delims, but no comma,
  /// which some take for a list of hosts.
  private static func isNameMark(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "_"), UInt8(ascii: "~"), UInt8(ascii: "%"), UInt8(ascii: "!"),
      UInt8(ascii: "$"), UInt8(ascii: "&"), UInt8(ascii: "'"), UInt8(ascii: "("),
      UInt8(ascii: ")"), UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: ";"),
      UInt8(ascii: "="):
      return true
    default: return false
    }
  }

  private static func isAddressText(_ text: Bytes) -> Bool {
    var index = 0
    while index < text.count {
      let byte = text[index]
      guard ASCII.hex(byte) < 16 || byte == UInt8(ascii: ":") || byte == UInt8(ascii: ".") else {
        return false
      }
      index += 1
    }
    return true
  }

  /// Host and port, the port nil when there is no colon.
  static func split(_ authority: Bytes) -> (host: Bytes, port: Bytes?) {
    var index = authority.count
    while index > 0 {
      let byte = authority[index - 1]
      if byte == UInt8(ascii: ":") {
        return (authority[0, index - 1], authority.dropFirst(index))
      }
      if !ASCII.isDigit(byte) { break }
      index -= 1
    }
    // A colon elsewhere outside brackets makes the host invalid, which the caller finds out.
    return (authority, nil)
  }

  static func withoutPort(_ authority: Bytes) -> Bytes { split(authority).host }

  /// The port; 80 where none is given.
  static func port(of authority: Bytes) -> Int { split(authority).port?.decimal ?? 80 }

  static func withoutTrailingDot(_ authority: Bytes) -> Bytes {
    let (host, port) = split(authority)
    guard port == nil, host.count > 1, host[host.count - 1] == UInt8(ascii: ".") else {
      return authority
    }
    return host[0, host.count - 1]
  }

  /// The place of a dot between host and port; nil when there is none.
  static func dotBeforePort(_ authority: Bytes) -> Int? {
    let (host, port) = split(authority)
    guard port != nil, host.count > 1, host[host.count - 1] == UInt8(ascii: ".") else { return nil }
    return host.count - 1
  }

  static func isLoopback(_ address: SocketAddress) -> Bool {
    let bytes = address.ipBytes
    let first: UInt8 = address.isIPv6 ? 0 : 127
    let last = address.isIPv6 ? 15 : 3
    guard !address.isUnix, bytes[0] == first, bytes[last] == 1 else { return false }
    for index in 1..<last where bytes[index] != 0 { return false }
    return true
  }

  /// An IP address as x-forwarded-for holds it, with or without a port.
  static func address(_ text: Bytes) -> SocketAddress? {
    guard !text.isEmpty, text.count < 64 else { return nil }
    if let address = SocketAddress(ip: text.string, port: 0) { return address }
    let host = split(text).host
    let bare =
      host.count > 2 && host[0] == UInt8(ascii: "[") ? host[1, host.count - 1] : host
    return SocketAddress(ip: bare.string, port: 0)
  }
}

/// A list of address ranges, and perhaps every Unix client.
struct AddressRanges {
  private let ranges: Table<AddressRange>
  let includesUnix: Bool
  let isEmpty: Bool

  init(_ list: [AddressRange], includesUnix: Bool) {
    ranges = .configured(list)
    isEmpty = list.isEmpty && !includesUnix
    self.includesUnix = includesUnix
  }

  func contains(_ address: SocketAddress) -> Bool {
    guard !isEmpty else { return false }
    if address.isUnix { return includesUnix }
    var index = 0
    while index < ranges.count {
      if ranges[index].contains(address) { return true }
      index += 1
    }
    return false
  }
}
