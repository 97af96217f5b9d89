import Glibc

/// Asks one question on a connection of its own, and waits for the answer: there is nothing else
/// that a command line would do meanwhile.
package struct HTTPClient: Sendable {
  package let address: HTTPAddress
  /// How long to wait for a connection, and for anything to come or go on it.
  private static let seconds = 15
  /// Bytes of an answer. The largest meshes' dumps have some hundred megabytes.
  private static let limit = 1 << 30

  package init(_ address: HTTPAddress) { self.address = address }

  package func get(_ target: String) throws(ToolError) -> HTTPAnswer {
    try ask("GET", target)
  }

  package func post(_ target: String) throws(ToolError) -> HTTPAnswer {
    try ask("POST", target)
  }

  /// Sends something with a question.
  package func send(
    _ method: String, _ target: String, _ body: [UInt8] = [], type: String? = nil
  ) throws(ToolError) -> HTTPAnswer {
    try ask(method, target, body, type: type)
  }

  private func ask(
    _ method: String, _ target: String, _ body: [UInt8] = [], type: String? = nil
  ) throws(ToolError) -> HTTPAnswer {
    let descriptor = try connect()
    defer { close(descriptor) }
    let request =
      "\(method) \(target) HTTP/1.1\r\nhost: \(address)\r\nuser-agent: fairleadctl\r\n"
      + (type.map { "content-type: \($0)\r\n" } ?? "")
      + "content-length: \(body.count)\r\nconnection: close\r\n\r\n"
    let unsent: ToolError?
    do throws(ToolError) {
      try send(Array(request.utf8) + body, on: descriptor)
      unsent = nil
    } catch {
      unsent = error
    }
    // Whoever takes no more may have said why.
    guard let answer = HTTPAnswer(received: try receive(on: descriptor)) else {
      if let unsent { throw unsent }
      throw ToolError(
        "what \(address) says is no whole HTTP/1.1 answer",
        remedy: "Is it an admin port? Its listener stands under 'admin:' in the bootstrap.")
    }
    return answer
  }

  private func connect() throws(ToolError) -> Int32 {
    var hints = unsafe addrinfo()
    unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var found: UnsafeMutablePointer<addrinfo>?
    let outcome = unsafe getaddrinfo(address.host, String(address.port), &hints, &found)
    guard outcome == 0 else {
      throw ToolError("no address is known for '\(address.host)'")
    }
    // SAFETY: the list is ours until it is freed here.
    defer { unsafe freeaddrinfo(found) }
    var reason = "nothing to connect to"
    var entry = unsafe found
    while let one = unsafe entry {
      let info = unsafe one.pointee
      let descriptor = unsafe socket(info.ai_family, info.ai_socktype, info.ai_protocol)
      if descriptor >= 0 {
        Self.setTimeouts(of: descriptor)
        if unsafe Glibc.connect(descriptor, info.ai_addr, info.ai_addrlen) == 0 {
          return descriptor
        }
        reason = Self.text(of: errno)
        close(descriptor)
      } else {
        reason = Self.text(of: errno)
      }
      unsafe entry = info.ai_next
    }
    throw ToolError("cannot connect to \(address): \(reason)")
  }

  private static func setTimeouts(of descriptor: Int32) {
    var time = timeval(tv_sec: seconds, tv_usec: 0)
    let size = socklen_t(MemoryLayout<timeval>.size)
    _ = unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, size)
    _ = unsafe setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, size)
  }

  private func send(_ bytes: [UInt8], on descriptor: Int32) throws(ToolError) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let sent = unsafe rest.withUnsafeBytes {
        unsafe Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
      }
      if sent < 0, errno == EINTR { continue }
      guard sent > 0 else {
        throw ToolError("cannot write to \(address): \(Self.text(of: errno))")
      }
      rest = rest.dropFirst(sent)
    }
  }

  private func receive(on descriptor: Int32) throws(ToolError) -> [UInt8] {
    var received: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = unsafe buffer.withUnsafeMutableBytes {
        unsafe recv(descriptor, $0.baseAddress, $0.count, 0)
      }
      if count == 0 { return received }
      if count < 0 {
        if errno == EINTR { continue }
        // Some peers reset what they have nothing more to say on.
        if errno == ECONNRESET, !received.isEmpty { return received }
        throw ToolError("no answer from \(address): \(Self.text(of: errno))")
      }
      received += buffer[..<count]
      guard received.count <= Self.limit else {
        throw ToolError("the answer of \(address) is larger than \(Self.limit >> 20) MiB")
      }
    }
  }

  private static func text(of code: Int32) -> String {
    if code == EAGAIN || code == EWOULDBLOCK { return "timed out after \(seconds) seconds" }
    // SAFETY: the text is a constant of the C library's.
    return unsafe strerror(code).map { unsafe String(cString: $0) } ?? "error \(code)"
  }
}
