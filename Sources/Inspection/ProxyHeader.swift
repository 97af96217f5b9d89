import Engine

/// The PROXY protocol's header: who a connection really comes from, told by a proxy in front of us.
/// Source: haproxy.org/download/2.9/doc/proxy-protocol.txt.
package struct ProxyHeader: BitwiseCopyable {
  package enum Version: BitwiseCopyable {
    case v1
    case v2
  }

  package let version: Version
  /// What the header takes on the wire.
  package let byteCount: Int
  /// Nil where the proxy speaks for itself (`LOCAL`), or does not know: the connection is as it seems.
  package let addresses: Addresses?
  /// What version 2 tells besides addresses: whole TLVs, a view into what was inspected.
  package var tlvs = Bytes.empty

  package struct Addresses: BitwiseCopyable {
    package let source: SocketAddress
    package let destination: SocketAddress
  }

  static let signature: StaticString = "\r\n\r\n\0\r\nQUIT\n"
  /// Version 1's longest line, its CRLF included (§2.1).
  private static let longestLine = 107
  /// Version 2's fixed part.
  private static let fixedBytes = 16

  /// Reads the header at the beginning of a connection.
  package static func inspect(_ bytes: Bytes) -> Inspected<ProxyHeader> {
    if begins(bytes, with: Bytes(signature)) {
      return bytes.count < fixedBytes ? .incomplete : inspectV2(bytes)
    }
    let word: Bytes = Bytes("PROXY ")
    guard begins(bytes, with: word) else { return .absent }
    guard bytes.count > word.count else { return .incomplete }
    return inspectV1(bytes)
  }

  private static func begins(_ bytes: Bytes, with word: Bytes) -> Bool {
    let shared = min(bytes.count, word.count)
    return bytes[0, shared] == word[0, shared]
  }

  // MARK: Version 1

  private static func inspectV1(_ bytes: Bytes) -> Inspected<ProxyHeader> {
    guard let end = bytes.prefix(longestLine).firstIndex(of: 10) else {
      return bytes.count < longestLine ? .incomplete : .malformed
    }
    guard bytes[end - 1] == 13 else { return .malformed }
    var words = Words(bytes[6, end - 1])
    guard let family = words.next() else { return .malformed }
    if family == "UNKNOWN" {
      return .found(ProxyHeader(version: .v1, byteCount: end + 1, addresses: nil))
    }
    guard family == "TCP4" || family == "TCP6", let source = words.next(),
      let destination = words.next(), let sourcePort = words.next(),
      let destinationPort = words.next(), words.next() == nil,
      let from = address(source, sourcePort), let to = address(destination, destinationPort),
      from.isIPv6 == (family == "TCP6"), to.isIPv6 == from.isIPv6
    else { return .malformed }
    return .found(
      ProxyHeader(
        version: .v1, byteCount: end + 1, addresses: Addresses(source: from, destination: to)))
  }

  private static func address(_ ip: Bytes, _ port: Bytes) -> SocketAddress? {
    guard port.count <= 5, port.count == 1 || (port.count > 1 && port[0] != UInt8(ascii: "0")),
      let number = port.decimal, number <= 65535
    else { return nil }
    return SocketAddress(ip: ip.string, port: UInt16(number))
  }

  /// Words with exactly one space between them.
  private struct Words {
    private var rest: Bytes?

    init(_ line: Bytes) { rest = line }

    mutating func next() -> Bytes? {
      guard let line = rest else { return nil }
      guard let space = line.firstIndex(of: 32) else {
        rest = nil
        return line
      }
      rest = line.dropFirst(space + 1)
      return line[0, space]
    }
  }

  // MARK: Version 2

  private static func inspectV2(_ bytes: Bytes) -> Inspected<ProxyHeader> {
    let length = Int(bytes[14]) << 8 | Int(bytes[15])
    let total = fixedBytes + length
    guard bytes[12] >> 4 == 2 else { return .malformed }
    let command = bytes[12] & 0xF
    guard command <= 1 else { return .malformed }
    guard bytes.count >= total else { return .incomplete }
    let isLocal = command == 0
    let family = bytes[13] >> 4
    let transport = bytes[13] & 0xF
    // AF_UNSPEC, and LOCAL: the connection is as it seems, whatever else is said.
    guard !isLocal, family != 0 else {
      return .found(ProxyHeader(version: .v2, byteCount: total, addresses: nil))
    }
    guard transport == 1, family == 1 || family == 2 else { return .malformed }
    let width = family == 1 ? 4 : 16
    let data = bytes[fixedBytes, total]
    guard length >= 2 * width + 4 else { return .malformed }
    let tlvs = data.dropFirst(2 * width + 4)
    guard ProxyTLVs(tlvs).areWhole else { return .malformed }
    let ports = data.dropFirst(2 * width)
    let source = SocketAddress(
      ipBytes: data[0, width], port: UInt16(ports[0]) << 8 | UInt16(ports[1]))
    let destination = SocketAddress(
      ipBytes: data[width, 2 * width], port: UInt16(ports[2]) << 8 | UInt16(ports[3]))
    guard let source, let destination else { return .malformed }
    return .found(
      ProxyHeader(
        version: .v2, byteCount: total,
        addresses: Addresses(source: source, destination: destination), tlvs: tlvs))
  }
}
