import CLinux
import Synchronization

/// An IPv4, IPv6 or Unix socket address. Connections and requests hold several, so it is kept small:
/// what the kernel takes is made when it is asked.
package struct SocketAddress: BitwiseCopyable {
  /// `AF_INET`, `AF_INET6` or `AF_UNIX`; 0 is no address.
  private var kind: UInt16 = 0
  private var portNumber: UInt16 = 0
  /// The zone of a link-local IPv6 address.
  private var scope: UInt32 = 0
  /// The address bytes in network order: four, or sixteen; the others are 0.
  package private(set) var ipBytes = InlineArray<16, UInt8>(repeating: 0)
  /// A Unix path, which lives as long as the process. Empty for a peer: clients have none.
  private var path = Bytes.empty

  /// No address.
  package init() {}

  /// An IP literal and a port; nil when `ip` is not a literal.
  package init?(ip: String, port: UInt16) {
    // C would read the text only as far as a NUL.
    guard !ip.utf8.contains(0) else { return nil }
    var storage = sockaddr_storage()
    var length: UInt32 = 0
    // SAFETY: the call writes within the two values it is lent.
    guard unsafe fl_parse_ip(ip, port, &storage, &length) == 1 else { return nil }
    self.init(storage)
  }

  /// A Unix socket path (a leading `@` names the abstract namespace); nil when empty or too long.
  package init?(unixPath: String) {
    guard !unixPath.isEmpty, unixPath.utf8.count <= Self.longestPath else { return nil }
    kind = UInt16(AF_UNIX)
    path = UnixPaths.keep(unixPath)
  }

  /// Four or sixteen bytes in network order; nil for any other number of them.
  package init?(ipBytes bytes: Bytes, port: UInt16) {
    guard bytes.count == 4 || bytes.count == 16 else { return nil }
    kind = UInt16(bytes.count == 4 ? AF_INET : AF_INET6)
    portNumber = port
    for index in 0..<bytes.count { ipBytes[index] = bytes[index] }
  }

  /// What the kernel says of a socket. The path of a Unix peer is not kept.
  package init(_ storage: sockaddr_storage) {
    kind = UInt16(truncatingIfNeeded: storage.ss_family)
    unsafe withUnsafePointer(to: storage) { pointer in
      portNumber = unsafe fl_port(pointer)
      scope = unsafe fl_scope(pointer)
      // SAFETY: the call writes at most sixteen bytes.
      unsafe ipBytes.withBytes { memory, _ in _ = unsafe fl_ip_bytes(pointer, memory) }
    }
  }

  /// Where `sun_path` ends, its final NUL left out.
  private static var longestPath: Int { 107 }

  @inline(__always)
  package var family: Int32 { Int32(kind) }
  @inline(__always)
  package var isUnix: Bool { family == AF_UNIX }
  @inline(__always)
  package var isIPv6: Bool { family == AF_INET6 }
  /// There is an address at all.
  package var isKnown: Bool { kind != 0 }

  /// The port; 0 for a Unix address.
  package var port: UInt16 {
    get { portNumber }
    set { if !isUnix { portNumber = newValue } }
  }

  /// Every address of the machine: `0.0.0.0` or `::`.
  package var isWildcard: Bool {
    guard isKnown, !isUnix else { return false }
    for index in 0..<16 where ipBytes[index] != 0 { return false }
    return true
  }

  /// The same address, whatever the port.
  package func hasSameIP(as other: SocketAddress) -> Bool {
    guard !isUnix, kind == other.kind else { return false }
    for index in 0..<16 where ipBytes[index] != other.ipBytes[index] { return false }
    return true
  }

  /// The address without its port, or the Unix path.
  package var ip: String { text(room: 112) { $0.appendIP(to: &$1) } }

  /// `1.2.3.4:80`, `[::1]:80`, or the Unix path.
  package var description: String { text(room: 128) { $0.append(to: &$1) } }

  private func text(room: Int, _ write: (SocketAddress, inout ByteWriter) -> Void) -> String {
    var memory = InlineArray<128, UInt8>(repeating: 0)
    return unsafe memory.withBytes { base, _ in
      // SAFETY: `room` is at most the 128 bytes that are lent.
      var writer = unsafe ByteWriter(base: base, capacity: room)
      write(self, &writer)
      return writer.written.string
    }
  }

  /// Appends `1.2.3.4:80`, `[::1]:80`, or the Unix path.
  package func append(to writer: inout ByteWriter) {
    if isIPv6 { writer.append(UInt8(ascii: "[")) }
    appendIP(to: &writer)
    if isIPv6 { writer.append(UInt8(ascii: "]")) }
    guard isKnown, !isUnix else { return }
    writer.append(UInt8(ascii: ":"))
    writer.append(decimal: Int(port))
  }

  /// Appends the address without its port.
  package func appendIP(to writer: inout ByteWriter) {
    switch family {
    case AF_UNIX: writer.append(path)
    case AF_INET6:
      var text = InlineArray<112, UInt8>(repeating: 0)
      unsafe text.withBytes { memory, capacity in
        let count = unsafe memory.withMemoryRebound(to: CChar.self, capacity: capacity) { out in
          unsafe withKernelAddress { address, _ in unsafe fl_format_ip(address, out, capacity) }
        }
        writer.append(unsafe Bytes(base: UnsafePointer(memory), count: count))
      }
    case AF_INET:
      // By hand: inet_ntop goes through snprintf.
      for index in 0..<4 {
        if index > 0 { writer.append(UInt8(ascii: ".")) }
        writer.append(decimal: Int(ipBytes[index]))
      }
    default: return
    }
  }

  /// The same address and port.
  package static func == (a: SocketAddress, b: SocketAddress) -> Bool {
    guard a.kind == b.kind, a.portNumber == b.portNumber else { return false }
    for index in 0..<16 where a.ipBytes[index] != b.ipBytes[index] { return false }
    return a.path == b.path
  }

  /// Both name one place: where addresses have a zone, the same.
  package func isSamePlace(as other: SocketAddress) -> Bool {
    self == other && scope == other.scope
  }

  /// For tables whose keys a peer may choose: nobody who does not know `seed` can tell which addresses
  /// meet. A Unix path does not enter into it.
  package func hash(seed: UInt64) -> UInt64 {
    var hash = seed
    for half in 0..<2 {
      var word: UInt64 = 0
      for index in 0..<8 { word = word << 8 | UInt64(ipBytes[half &* 8 &+ index]) }
      hash = Self.mix(hash ^ word)
    }
    return Self.mix(hash ^ UInt64(scope) << 32 ^ UInt64(kind) << 16 ^ UInt64(portNumber))
  }

  /// SplitMix64's last step, which lets every bit change every other.
  private static func mix(_ value: UInt64) -> UInt64 {
    var value = value &+ 0x9E37_79B9_7F4A_7C15
    value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
    return value ^ (value >> 31)
  }

  /// Lends the address as system calls take it.
  func withKernelAddress<Result>(
    _ body: (UnsafePointer<sockaddr_storage>, UInt32) -> Result
  ) -> Result {
    var storage = sockaddr_storage()
    var length: UInt32 = 0
    var bytes = ipBytes
    unsafe bytes.withBytes { memory, _ in
      // SAFETY: sixteen bytes of address, a path that was checked to fit, and the storage are lent
      // for the call.
      unsafe fl_make_address(
        family, port, scope, memory, path.base, path.count, &storage, &length)
    }
    // SAFETY: the pointer lives for the call.
    return unsafe withUnsafePointer(to: storage) { unsafe body($0, length) }
  }
}

/// The address of a connection's other end as text, made once for all its requests.
@usableFromInline
package struct AddressText: BitwiseCopyable {
  @usableFromInline internal var text = InlineArray<46, UInt8>(repeating: 0)
  @usableFromInline internal var count: UInt8 = 0

  /// No text.
  package init() {}

  /// The address without its port; of a Unix address nothing.
  package init(_ address: SocketAddress) {
    guard !address.isUnix else { return }
    count = unsafe text.withBytes { memory, capacity in
      var writer = unsafe ByteWriter(base: memory, capacity: capacity)
      address.appendIP(to: &writer)
      return UInt8(truncatingIfNeeded: writer.count)
    }
  }

  package var isEmpty: Bool { count == 0 }

  /// Lends the text where it lies; mutating, because what is only read would be copied first.
  @inlinable @inline(__always)
  package mutating func withBytes<Result>(_ body: (Bytes) -> Result) -> Result {
    let count = Int(self.count)
    // SAFETY: `count` bytes were written; the pointer lives for the call.
    return unsafe withUnsafeMutablePointer(to: &text) { text in
      let base = unsafe UnsafeRawPointer(text).assumingMemoryBound(to: UInt8.self)
      return body(unsafe Bytes(base: base, count: count))
    }
  }
}

/// Every Unix path that a configuration named, once and for ever: there are few, and they come again.
private enum UnixPaths {
  private static let kept = Mutex<[String: Bytes]>([:])

  static func keep(_ path: String) -> Bytes {
    kept.withLock { kept in
      if let known = kept[path] { return known }
      let bytes = Bytes.immortal(path)
      kept[path] = bytes
      return bytes
    }
  }
}

extension InlineArray where Element == UInt8 {
  /// Lends the bytes to C.
  mutating func withBytes<Result>(
    _ body: (UnsafeMutablePointer<UInt8>, Int) -> Result
  ) -> Result {
    var span = self.mutableSpan
    return unsafe span.withUnsafeMutableBufferPointer { buffer in
      guard let base = buffer.baseAddress else { preconditionFailure("not empty") }
      return unsafe body(base, buffer.count)
    }
  }
}
