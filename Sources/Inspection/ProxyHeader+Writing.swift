import Engine

extension ProxyHeader {
  /// The longest header without TLVs that is written here: a line of version 1.
  package static let longestWritten = 108
  /// What the length of a header of version 2 can say.
  private static let longestData = Int(UInt16.max)

  /// Writes the header for a connection from `source` to `destination`. Where the two are no pair of
  /// IP addresses of one family, it says that nothing is known.
  /// - Parameter tlvBytes: bytes of TLVs that follow, at most `roomForTLVs`.
  package static func write(
    _ version: Version, from source: SocketAddress, to destination: SocketAddress,
    tlvBytes: Int = 0, into out: inout ByteWriter
  ) {
    let isPair = isPair(source, destination)
    switch version {
    case .v1: writeLine(isPair, source, destination, &out)
    case .v2: writeBinary(isPair, source, destination, tlvBytes, &out)
    }
  }

  /// How many bytes of TLVs a header for that connection has room for: none where it tells no addresses.
  package static func roomForTLVs(
    _ version: Version, from source: SocketAddress, to destination: SocketAddress
  ) -> Int {
    guard version == .v2, isPair(source, destination) else { return 0 }
    return longestData - addressBytes(isIPv6: source.isIPv6)
  }

  private static func isPair(_ source: SocketAddress, _ destination: SocketAddress) -> Bool {
    source.isKnown && destination.isKnown && !source.isUnix && !destination.isUnix
      && source.isIPv6 == destination.isIPv6
  }

  /// Two addresses and two ports.
  private static func addressBytes(isIPv6: Bool) -> Int { isIPv6 ? 36 : 12 }

  /// Section 2.1: `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443` and CRLF.
  private static func writeLine(
    _ isPair: Bool, _ source: SocketAddress, _ destination: SocketAddress,
    _ out: inout ByteWriter
  ) {
    guard isPair else { return out.append("PROXY UNKNOWN\r\n") }
    out.append(source.isIPv6 ? "PROXY TCP6 " : "PROXY TCP4 ")
    source.appendIP(to: &out)
    out.append(" ")
    destination.appendIP(to: &out)
    out.append(" ")
    out.append(decimal: Int(source.port))
    out.append(" ")
    out.append(decimal: Int(destination.port))
    out.append("\r\n")
  }

  /// Section 2.2: signature, version and command, family and transport, length, addresses.
  private static func writeBinary(
    _ isPair: Bool, _ source: SocketAddress, _ destination: SocketAddress, _ tlvBytes: Int,
    _ out: inout ByteWriter
  ) {
    out.append(Bytes(signature))
    guard isPair else {
      // LOCAL, AF_UNSPEC.
      out.append(0x20, 0)
      return out.append(0, 0)
    }
    let width = source.isIPv6 ? 16 : 4
    out.append(0x21, source.isIPv6 ? 0x21 : 0x11)
    let length = UInt16(clamping: addressBytes(isIPv6: source.isIPv6) + tlvBytes)
    out.append(UInt8(length >> 8), UInt8(length & 0xFF))
    for address in [source, destination] {
      for index in 0..<width { out.append(address.ipBytes[index]) }
    }
    for address in [source, destination] {
      out.append(UInt8(address.port >> 8), UInt8(address.port & 0xFF))
    }
  }
}
