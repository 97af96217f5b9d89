import Engine

/// What a TLS client says in its first message before anything is encrypted (RFC 8446 §4.1.2): the
/// server's name that it asks for, and the protocols that it would speak.
package struct ClientHello: BitwiseCopyable {
  /// In lower case; empty when the client names nobody.
  package private(set) var serverName = Text()
  /// As on the wire: each name behind a byte with its length (RFC 7301 §3.1).
  package private(set) var protocols = Text()
  /// What the message takes with its record headers.
  package private(set) var byteCount = 0

  /// Up to 255 bytes, which is what a server's name may have; of longer protocol lists, the entries
  /// that fit.
  package struct Text: BitwiseCopyable {
    private var storage = InlineArray<255, UInt8>(repeating: 0)
    private var length: UInt8 = 0

    /// No text.
    package init() {}

    package var count: Int { Int(length) }

    /// False when it is full.
    mutating func append(_ byte: UInt8) -> Bool {
      guard length < 255 else { return false }
      storage[Int(length)] = byte
      length += 1
      return true
    }

    mutating func cut(to count: Int) { length = UInt8(truncatingIfNeeded: count) }

    /// Lends the bytes.
    package func withBytes<Result>(_ body: (Bytes) -> Result) -> Result {
      // SAFETY: `length` bytes of the array have been written, and they live for the call.
      unsafe storage.span.withUnsafeBufferPointer { buffer in
        guard let base = buffer.baseAddress else { return body(.empty) }
        return body(unsafe Bytes(base: base, count: count))
      }
    }
  }

  /// Reads a client's first message, in whatever pieces its records cut it.
  /// - Parameter limit: a message that is longer counts as malformed.
  package static func inspect(_ bytes: Bytes, limit: Int) -> Inspected<ClientHello> {
    var reader = HandshakeReader(bytes)
    do throws(HandshakeReader.Stop) {
      return .found(try read(&reader, limit: limit))
    } catch {
      switch error {
      case .needsMore: return bytes.count >= limit ? .malformed : .incomplete
      case .notTLS: return .absent
      case .malformed: return .malformed
      }
    }
  }

  private static func read(
    _ reader: inout HandshakeReader, limit: Int
  ) throws(HandshakeReader.Stop) -> ClientHello {
    var hello = ClientHello()
    guard try reader.byte() == 1 else { throw .malformed }
    let length = try reader.number(3)
    guard length <= limit else { throw .malformed }
    let end = reader.taken + length
    _ = try reader.number(2)
    try reader.skip(32)
    try reader.skip(try reader.number(1))  // session
    try reader.skip(try reader.number(2))  // cipher suites
    try reader.skip(try reader.number(1))  // compression
    if reader.taken < end {
      let extensionsEnd = reader.taken + 2 + (try reader.number(2))
      guard extensionsEnd <= end else { throw .malformed }
      while reader.taken < extensionsEnd { try hello.readExtension(&reader, end: extensionsEnd) }
    }
    try reader.skip(end - reader.taken)
    hello.byteCount = reader.position
    return hello
  }

  private mutating func readExtension(
    _ reader: inout HandshakeReader, end: Int
  ) throws(HandshakeReader.Stop) {
    let type = try reader.number(2)
    let length = try reader.number(2)
    let next = reader.taken + length
    guard next <= end else { throw .malformed }
    switch type {
    case 0 where length > 0 && serverName.count == 0: try readServerName(&reader, end: next)
    case 16 where length > 0 && protocols.count == 0: try readProtocols(&reader, end: next)
    default: break
    }
    guard reader.taken <= next else { throw .malformed }
    try reader.skip(next - reader.taken)
  }

  /// The first host name of the list (RFC 6066 §3); there is only one kind of name.
  private mutating func readServerName(
    _ reader: inout HandshakeReader, end: Int
  ) throws(HandshakeReader.Stop) {
    _ = try reader.number(2)
    guard try reader.byte() == 0 else { return }
    let length = try reader.number(2)
    guard length > 0, length <= 255, reader.taken + length <= end else { throw .malformed }
    for _ in 0..<length { _ = serverName.append(ASCII.lower(try reader.byte())) }
  }

  private mutating func readProtocols(
    _ reader: inout HandshakeReader, end: Int
  ) throws(HandshakeReader.Stop) {
    _ = try reader.number(2)
    while reader.taken < end {
      let before = protocols.count
      let length = try reader.byte()
      guard length > 0, reader.taken + Int(length) <= end else { throw .malformed }
      var fits = protocols.append(length)
      for _ in 0..<length {
        let byte = try reader.byte()
        fits = fits && protocols.append(byte)
      }
      guard fits else { return protocols.cut(to: before) }
    }
  }
}

/// Handshake bytes, read on across the borders of TLS records (RFC 8446 §5.1).
struct HandshakeReader {
  enum Stop: Error {
    case needsMore
    case notTLS
    case malformed
  }

  private let bytes: Bytes
  /// Where reading stands among all bytes.
  private(set) var position = 0
  /// Handshake bytes that were read: record headers do not count.
  private(set) var taken = 0
  private var leftInRecord = 0
  private var isFirst = true

  init(_ bytes: Bytes) { self.bytes = bytes }

  mutating func byte() throws(Stop) -> UInt8 {
    while leftInRecord == 0 { try beginRecord() }
    guard position < bytes.count else { throw .needsMore }
    let byte = bytes[position]
    position += 1
    taken += 1
    leftInRecord -= 1
    return byte
  }

  /// A number of so many bytes, the highest first.
  mutating func number(_ width: Int) throws(Stop) -> Int {
    var value = 0
    for _ in 0..<width { value = value << 8 | Int(try byte()) }
    return value
  }

  mutating func skip(_ count: Int) throws(Stop) {
    guard count >= 0 else { throw .malformed }
    var left = count
    while left > 0 {
      while leftInRecord == 0 { try beginRecord() }
      let step = min(left, leftInRecord, bytes.count - position)
      guard step > 0 else { throw .needsMore }
      position += step
      taken += step
      leftInRecord -= step
      left -= step
    }
  }

  /// A record of the handshake: type 22, version 3.x, and at most 2^14 bytes.
  private mutating func beginRecord() throws(Stop) {
    let wrong: Stop = isFirst ? .notTLS : .malformed
    guard position < bytes.count else { throw .needsMore }
    guard bytes[position] == 22 else { throw wrong }
    guard position + 1 < bytes.count else { throw .needsMore }
    guard bytes[position + 1] == 3 else { throw wrong }
    guard position + 5 <= bytes.count else { throw .needsMore }
    let length = Int(bytes[position + 3]) << 8 | Int(bytes[position + 4])
    // An empty record would be read for ever.
    guard length > 0, length <= 1 << 14 else { throw wrong }
    position += 5
    leftInRecord = length
    isFirst = false
  }
}
