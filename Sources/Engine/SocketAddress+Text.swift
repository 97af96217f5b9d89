import CLinux

extension SocketAddress {
  /// An IP address and a port as peers write them, `1.2.3.4:80` or `[::1]:80`; nil for anything else.
  package init?(hostAndPort text: Bytes) {
    guard let colon = text.lastColon,
      let port = UInt16(exactly: text.dropFirst(colon + 1).decimal ?? -1)
    else { return nil }
    var host = text.prefix(colon)
    let isBracketed = host.count > 2 && host[0] == UInt8(ascii: "[")
    if isBracketed {
      guard host[host.count - 1] == UInt8(ascii: "]") else { return nil }
      host = host[1, host.count - 1]
    }
    self.init(literal: host, port: port)
    // The brackets tell the colons of an address from the port's.
    guard isIPv6 == isBracketed else { return nil }
  }

  /// `INET6_ADDRSTRLEN`, the final NUL left out: no literal is longer.
  private static let longestLiteral = 45

  private init?(literal: Bytes, port: UInt16) {
    guard !literal.isEmpty, literal.count <= Self.longestLiteral,
      literal.firstIndex(of: 0) == nil
    else { return nil }
    var storage = sockaddr_storage()
    var length: UInt32 = 0
    var text = InlineArray<46, UInt8>(repeating: 0)
    for index in 0..<literal.count { text[index] = literal[index] }
    let isLiteral = unsafe text.withBytes { memory, capacity in
      // SAFETY: the text ends with a NUL, since at least one byte after it is still 0; the call
      // writes within the two values it is lent.
      unsafe memory.withMemoryRebound(to: CChar.self, capacity: capacity) {
        unsafe fl_parse_ip($0, port, &storage, &length) == 1
      }
    }
    guard isLiteral else { return nil }
    self.init(storage)
  }
}

extension Bytes {
  fileprivate var lastColon: Int? {
    var index = count
    while index > 0 {
      index -= 1
      if self[index] == UInt8(ascii: ":") { return index }
    }
    return nil
  }
}
