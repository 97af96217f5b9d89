import CLinux

/// An IPv4, IPv6 or Unix socket address: plain memory, as the kernel takes it.
package struct SocketAddress: BitwiseCopyable {
  package var storage = sockaddr_storage()
  package var length: UInt32 = 0

  package init() {}

  /// An IP literal and a port; nil when `ip` is not a literal.
  package init?(ip: String, port: UInt16) {
    // C would read the text only as far as a NUL.
    guard !ip.utf8.contains(0) else { return nil }
    // SAFETY: the call writes within the two values it is lent.
    guard unsafe fl_parse_ip(ip, port, &storage, &length) == 1 else { return nil }
  }

  /// A Unix socket path (a leading `@` names the abstract namespace); nil when empty or too long.
  package init?(unixPath: String) {
    var path = unixPath
    let result = path.withUTF8 { buffer in
      guard let base = buffer.baseAddress else { return Int32(-1) }
      return unsafe base.withMemoryRebound(to: CChar.self, capacity: buffer.count) {
        // SAFETY: `path` holds `count` bytes; the call refuses more than fit.
        unsafe fl_unix_address($0, buffer.count, &storage, &length)
      }
    }
    guard result == 0 else { return nil }
  }

  package var family: Int32 { unsafe withStorage { unsafe fl_family($0) } }
  package var isUnix: Bool { family == AF_UNIX }
  package var isIPv6: Bool { family == AF_INET6 }

  package var port: UInt16 {
    get { unsafe withStorage { unsafe fl_port($0) } }
    set { unsafe fl_set_port(&storage, newValue) }
  }

  /// The address without its port, or the Unix path.
  package var ip: String {
    var text = ""
    withIP { text = $0.string }
    return text
  }

  /// `1.2.3.4:80`, `[::1]:80`, or the Unix path.
  package var description: String {
    switch family {
    case AF_INET: "\(ip):\(port)"
    case AF_INET6: "[\(ip)]:\(port)"
    default: ip
    }
  }

  /// Lends the textual address without its port.
  package func withIP<Result>(_ body: (Bytes) -> Result) -> Result {
    var text = InlineArray<112, UInt8>(repeating: 0)
    return unsafe text.withBytes { memory, capacity in
      let n = unsafe memory.withMemoryRebound(to: CChar.self, capacity: capacity) { out in
        unsafe withStorage { unsafe fl_format_ip($0, out, capacity) }
      }
      return body(unsafe Bytes(base: UnsafePointer(memory), count: n))
    }
  }

  /// Appends `1.2.3.4:80`, `[::1]:80`, or the Unix path.
  package func append(to writer: inout ByteWriter) {
    let family = self.family
    if family == AF_INET6 { writer.append(UInt8(ascii: "[")) }
    appendIP(to: &writer)
    if family == AF_INET6 { writer.append(UInt8(ascii: "]")) }
    guard family != AF_UNIX else { return }
    writer.append(UInt8(ascii: ":"))
    writer.append(decimal: Int(port))
  }

  /// Appends the address without its port.
  package func appendIP(to writer: inout ByteWriter) {
    guard family == AF_INET else {
      var text = InlineArray<112, UInt8>(repeating: 0)
      unsafe text.withBytes { memory, capacity in
        let n = unsafe memory.withMemoryRebound(to: CChar.self, capacity: capacity) { out in
          unsafe withStorage { unsafe fl_format_ip($0, out, capacity) }
        }
        writer.append(unsafe Bytes(base: UnsafePointer(memory), count: n))
      }
      return
    }
    // The common case by hand: inet_ntop goes through snprintf.
    let bytes = ipBytes
    for index in 0..<4 {
      if index > 0 { writer.append(UInt8(ascii: ".")) }
      writer.append(decimal: Int(bytes[index]))
    }
  }

  /// The address bytes in network order: four, or sixteen.
  package var ipBytes: InlineArray<16, UInt8> {
    var bytes = InlineArray<16, UInt8>(repeating: 0)
    unsafe bytes.withBytes { memory, _ in _ = unsafe withStorage { unsafe fl_ip_bytes($0, memory) }
    }
    return bytes
  }

  /// The same address and port.
  package static func == (a: SocketAddress, b: SocketAddress) -> Bool {
    guard a.family == b.family else { return false }
    guard a.family != AF_UNIX else { return a.ip == b.ip }
    let x = a.ipBytes
    let y = b.ipBytes
    for index in 0..<16 where x[index] != y[index] { return false }
    return a.port == b.port
  }

  func withStorage<Result>(_ body: (UnsafePointer<sockaddr_storage>) -> Result) -> Result {
    // SAFETY: the pointer lives for the call.
    unsafe withUnsafePointer(to: storage) { unsafe body($0) }
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
