import CLinux
import Engine
import HTTPCodec
import HTTPModel

/// One connection to the administration listener, on the main loop. Off the request path: written for
/// comfort, but as bounded as everything that reads from a socket.
final class AdminConnection {
  /// The most that a request may hold, head and body.
  private var requestBytes: Int { listener.requestBytes }
  /// How long a request that has begun may take to come whole: whoever feeds it byte by byte holds a
  /// connection and its memory no longer.
  private static let requestMilliseconds: UInt64 = 30_000
  /// The most that the head of a request may hold.
  private static let headBytes = 64 * 1024
  private var deadline = TimerID.none
  private let peer: SocketAddress

  private let connection = Ref<Connection>.immortal(Connection())
  private unowned let listener: AdminListener
  private let loop: EventLoop
  private var input: [UInt8] = []
  /// What the listener knows of `input`.
  private var held = 0
  private var parser = HTTP1HeadParser(capacity: 100)
  private var pages: (any IteratorProtocol<[UInt8]>)?
  private var keepAlive = true
  private var closing = false

  nonisolated(unsafe) private static let events = Ref<ConnectionEvents>.immortal(
    unsafe ConnectionEvents(
      readable: { unsafe AdminConnection.from($0).readable() },
      drained: { unsafe AdminConnection.from($0).drained() },
      connected: { _, _ in },
      hungUp: { unsafe AdminConnection.from($0).close() }))

  private static func from(_ raw: UnsafeMutableRawPointer) -> AdminConnection {
    unsafe Unmanaged<AdminConnection>.fromOpaque(raw).takeUnretainedValue()
  }

  init?(_ fd: Int32, from peer: SocketAddress, listener: AdminListener, loop: EventLoop) {
    self.listener = listener
    self.peer = peer
    self.loop = loop
    let owner = unsafe Unmanaged.passUnretained(self).toOpaque()
    guard unsafe connection.open(fd, on: loop, events: Self.events, owner: owner) else {
      return nil
    }
    connection.value.highWatermark = 256 * 1024
  }

  private func readable() {
    while connection.value.isOpen {
      let scratch = unsafe loop.state.value.receiveScratch
      switch unsafe connection.read(into: scratch, capacity: EventLoop.scratchBytes) {
      case .bytes(let n):
        // What it was refused for is of no interest any more.
        guard !closing else { continue }
        unsafe input.append(contentsOf: UnsafeBufferPointer(start: scratch, count: n))
        guard input.count <= requestBytes else { return refuse(413) }
        guard hold() else { return refuse(503) }
        if pages == nil { answerAll() }
        watchTime()
      case .wait: return
      case .end, .failed: return close()
      }
    }
  }

  /// Tells the listener how much there is; whether that may be.
  private func hold() -> Bool {
    defer { held = input.count }
    return listener.hold(input.count, insteadOf: held)
  }

  /// A request that is not whole has to become so in time.
  private func watchTime() {
    let isWaiting = connection.value.isOpen && !closing && pages == nil && !input.isEmpty
    if !isWaiting {
      loop.cancel(deadline)
      deadline = .none
    } else if deadline == .none {
      // SAFETY: `close` cancels, and the listener keeps this object until it is closed.
      deadline = unsafe loop.after(
        milliseconds: Self.requestMilliseconds, context: Unmanaged.passUnretained(self).toOpaque()
      ) { raw, _ in unsafe AdminConnection.from(raw).expired() }
    }
  }

  private func expired() {
    deadline = .none
    refuse(408)
  }

  /// Answers what cannot be understood, or is too much, and reads no further.
  private func refuse(_ status: Int) {
    keepAlive = false
    input = []
    _ = hold()
    var response = AdminResponse(status: status, text: "\(Status.reason(status))\n")
    // The requests of others are answered, or given up, within seconds.
    if status == 503 { response.retryAfterSeconds = 1 }
    respond(response)
  }

  /// Answers the requests that are whole, one after the other.
  private func answerAll() {
    // Who asks without reading the answers is not answered further.
    while pages == nil, connection.value.isOpen, !closing,
      !connection.value.isAboveHighWatermark, let request = nextRequest()
    {
      keepAlive = request.keepAlive
      respond(listener.respond(request))
    }
  }

  private func nextRequest() -> AdminRequest? {
    guard !input.isEmpty else { return nil }
    var request: AdminRequest?
    var failure: Int?
    var used = 0
    var head = HeaderMap()
    let count = input.count
    unsafe input.withUnsafeMutableBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return }
      switch unsafe parser.parseRequest(base, count, maxFields: 100) {
      case .complete(let length):
        unsafe head.load(
          Bytes(base: UnsafePointer(base) + parser.start, count: length - parser.start),
          parser.found, from: &loop.state.value.blocks)
        let (framing, error) = HTTP1Framing.request(head, minor: parser.minor)
        let text = unsafe Bytes(base: UnsafePointer(base) + parser.start, count: length)
        guard error == nil else {
          failure = 400
          return
        }
        let method = text[parser.method.lowerBound, parser.method.upperBound].string
        let target = text[parser.target.lowerBound, parser.target.upperBound].string
        let path = String(target.prefix { $0 != "?" })
        let most = min(requestBytes, listener.limit(method, path))
        var bodyLength = 0
        // Before it comes: nobody is to hold what would be refused.
        switch framing.body {
        case .none: break
        case .length(let n) where n <= most - length: bodyLength = n
        case .length:
          failure = 413
          return
        default:
          failure = 411
          return
        }
        guard count >= length + bodyLength else { return }
        used = length + bodyLength
        request = unsafe AdminRequest(
          method: method, target: target,
          keepAlive: framing.keepAlive, body: Array(buffer[length..<(length + bodyLength)]),
          fields: Self.fields(of: head), peer: peer)
      case .incomplete:
        // Nobody's head is as long as a body may be.
        if count > Self.headBytes { failure = 431 }
      case .invalid: failure = 400
      }
    }
    head.release(into: &loop.state.value.blocks)
    if let failure {
      refuse(failure)
      return nil
    }
    input.removeFirst(used)
    // An array keeps what it once needed.
    if input.isEmpty { input = [] }
    _ = hold()
    return request
  }

  private static func fields(
    of head: borrowing HeaderMap
  ) -> [(name: String, value: String)] {
    var fields: [(name: String, value: String)] = []
    for index in 0..<head.count where head.isLive(index) {
      fields.append((head.name(index).string.lowercased(), head.value(index).string))
    }
    return fields
  }

  private func respond(_ response: AdminResponse) {
    var head = "HTTP/1.1 \(response.status) \(Status.reason(response.status))\r\n"
    head += "content-type: \(response.contentType)\r\n"
    head += "cache-control: no-cache, max-age=0\r\n"
    head += "x-content-type-options: nosniff\r\n"
    switch response.body {
    case .whole(let bytes):
      head += "content-length: \(bytes.count)\r\n"
    case .pieces:
      head += "transfer-encoding: chunked\r\n"
    }
    if !keepAlive { head += "connection: close\r\n" }
    if let seconds = response.retryAfterSeconds { head += "retry-after: \(seconds)\r\n" }
    head += "server: fairlead\r\n\r\n"
    write(Array(head.utf8))
    switch response.body {
    case .whole(let bytes):
      write(bytes)
      finishResponse()
    case .pieces(let pieces):
      self.pages = pieces
      drained()
    }
  }

  private func write(_ bytes: [UInt8]) {
    unsafe bytes.withUnsafeBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return }
      connection.write(unsafe Bytes(base: base, count: buffer.count), on: loop)
    }
  }

  /// Sends the next pieces of a long answer, as the reader takes them.
  private func drained() {
    if closing { return connection.value.queuedBytes == 0 ? close() : () }
    if pages == nil { return answerAll() }
    while var pieces = pages {
      guard !connection.value.isAboveHighWatermark else { return }
      let piece = pieces.next()
      pages = pieces
      guard let piece else {
        pages = nil
        write(Array("0\r\n\r\n".utf8))
        finishResponse()
        return answerAll()
      }
      guard !piece.isEmpty else { continue }
      write(Array("\(String(piece.count, radix: 16))\r\n".utf8) + piece + Array("\r\n".utf8))
    }
  }

  private func finishResponse() {
    guard !keepAlive else { return }
    closing = true
    if connection.value.queuedBytes == 0 { close() }
  }

  func close() {
    guard connection.value.isOpen else { return }
    loop.cancel(deadline)
    deadline = .none
    input = []
    _ = hold()
    connection.close(on: loop)
    listener.closed(self)
  }
}
