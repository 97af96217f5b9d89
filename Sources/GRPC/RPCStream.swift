import Engine
import HTTPCodec
import HTTPModel

/// One call on its way over HTTP/2, on either side: the messages that wait to be sent, and those that
/// come. `RPCCall` and `RPCServerCall` give it a side.
package class RPCStream {
  /// How the peer's side of the stream ended: with its last message, or with trailers.
  private enum PeerEnd {
    case messages
    case trailers(RPCFields)
  }

  final weak var connection: RPCConnection?
  final var id: Int32 = 0

  // What we send.
  private var output = RPCOutput()
  private var outputEnded = false
  private var trailers: RPCFields?
  /// nghttp2 asked for the body and got nothing: it has to be told when there is more.
  private var isDeferred = false
  private var isAboveHighWatermark = false

  // What the peer sends.
  private var reader: MessageReader
  private var fields: RPCFields = []
  private var fieldBytes = 0
  private var hasHead = false
  private var interims = 0
  /// How the peer's side ended, until that has been delivered.
  private var peerEnd: PeerEnd?
  /// The peer's side has ended.
  final private(set) var hasPeerEnded = false
  private var unconsumed = 0
  private var isPaused = false
  private var isDelivering = false
  /// The call is over for whoever handles it; what still comes is dropped.
  final private(set) var isOver = false

  /// What the peer sends are gRPC's messages; else it is a body that nobody wants.
  private let takesMessages: Bool

  init(messageLimit: Int) {
    reader = MessageReader(limit: messageLimit)
    takesMessages = true
  }

  /// One that is not gRPC: what it takes of the peer are heads and the end.
  init() {
    reader = MessageReader(limit: 0)
    takesMessages = false
  }

  // MARK: For the sides

  /// The head of the peer's message is whole.
  func headCame(_ fields: RPCFields) {}
  /// One message.
  func messageCame(_ message: [UInt8]) {}
  /// The peer sends no more; its trailers, if there were any.
  func peerFinished(trailers: RPCFields?) {}
  /// The peer broke a rule, or a bound.
  func peerFailed(_ status: RPCStatus) {}
  /// The stream has ended before the call had.
  func lost(_ status: RPCStatus) {}
  /// What was queued has left, after `isBlocked` had been true.
  func drained() {}
  /// The session has forgotten the stream.
  func gone() {}
  /// All that we had to say has left.
  func sentLast() {}

  /// Nothing more is delivered, and what waits to be sent is all there will be.
  final func end() {
    isOver = true
    // What a paused call has not taken must not keep the connection's window closed for others.
    consume()
  }

  // MARK: Sending

  /// Bytes that wait for the peer.
  package final var queuedBytes: Int { output.count }

  /// More waits than the peer takes: whoever sends should wait to be told.
  package final var isBlocked: Bool { isAboveHighWatermark }

  final func queue(_ message: [UInt8]) {
    guard !outputEnded else { return }
    output.append(MessageReader.head(of: message.count))
    output.append(message)
    isAboveHighWatermark = output.count > Limits.streamQueueBytes
    wake()
  }

  /// Ends our side, with trailers or without.
  final func endOutput(trailers: RPCFields?) {
    guard !outputEnded else { return }
    outputEnded = true
    self.trailers = trailers
    wake()
  }

  final var hasEndedOutput: Bool { outputEnded }

  /// Forgets what has not been sent.
  final func dropOutput() {
    output.removeAll()
    outputEnded = true
  }

  private func wake() {
    guard isDeferred else { return }
    isDeferred = false
    connection?.resume(self)
  }

  /// How much may leave now, and what ends with it.
  final func available(_ most: Int) -> (Int, HTTP2BodyEnd) {
    let count = min(output.count, most)
    var end = HTTP2BodyEnd.nothing
    if outputEnded, count == output.count {
      let hasTrailers = trailers.map { connection?.submitTrailers(self, $0) ?? false } ?? false
      end = hasTrailers ? .body : .stream
    }
    isDeferred = count == 0 && end == .nothing
    return (count, end)
  }

  /// Moves the next bytes to where frames are gathered.
  final func moveOutput(_ count: Int, to target: inout [UInt8]) {
    output.move(count, to: &target)
    guard isAboveHighWatermark, output.count <= Limits.streamQueueBytes / 2 else { return }
    isAboveHighWatermark = false
    // The session is on the stack, and must not be called from here.
    connection?.runtime.loop.soon { [weak self] in self?.drained() }
  }

  // MARK: Receiving

  final func sectionBegan() {
    fields.removeAll()
    fieldBytes = 0
  }

  final func field(_ name: Bytes, _ value: Bytes) {
    guard !isOver else { return }
    fieldBytes += name.count + value.count
    guard fieldBytes <= RPCLimits.fieldBytes, fields.list.count < RPCLimits.fields else {
      return peerFailed(RPCStatus(.resourceExhausted, "the metadata is too large"))
    }
    fields.add(name.string, value.string)
  }

  final func sectionEnded(endStream: Bool) {
    let section = fields
    fields.removeAll()
    if endStream { hasPeerEnded = true }
    guard !isOver else { return }
    guard !hasHead else {
      peerEnd = .trailers(section)
      return deliver()
    }
    if let status = section[":status"], status.hasPrefix("1") {
      interims += 1
      if interims > Limits.interimResponses {
        peerFailed(RPCStatus(.internal, "too many interim responses"))
      }
      return
    }
    hasHead = true
    headCame(section)
    guard endStream else { return }
    // An answer without messages has its trailers in its head.
    peerEnd = section[":status"] == nil ? .messages : .trailers(section)
    deliver()
  }

  final func received(_ bytes: Bytes) {
    unconsumed += bytes.count
    guard !isOver, takesMessages else { return consume() }
    unsafe reader.append(UnsafeBufferPointer(start: bytes.base, count: bytes.count))
    deliver()
  }

  final func peerEnded() {
    hasPeerEnded = true
    guard !isOver else { return }
    peerEnd = .messages
    deliver()
  }

  private func deliver() {
    guard !isDelivering else { return }
    isDelivering = true
    defer { isDelivering = false }
    do throws(MessageReader.Failure) {
      while !isPaused, !isOver, let message = try reader.next() { messageCame(message) }
      if !isPaused, !isOver, let peerEnd {
        self.peerEnd = nil
        switch peerEnd {
        case .messages:
          try reader.finish()
          peerFinished(trailers: nil)
        case .trailers(let fields): peerFinished(trailers: fields)
        }
      }
    } catch {
      peerFailed(error.status(toClient: self is RPCServerCall))
    }
    if !isPaused || isOver { consume() }
  }

  /// What has been taken in may be sent again by the peer.
  private func consume() {
    let count = unconsumed
    unconsumed = 0
    connection?.consume(self, count)
  }

  /// Delivers no more messages until `resume`; the peer is stopped when its window is full.
  package final func pause() { isPaused = true }

  /// Undoes `pause`.
  package final func resume() {
    guard isPaused else { return }
    isPaused = false
    connection?.runtime.loop.soon { [weak self] in self?.deliver() }
  }

  // MARK: The end

  final func reset(_ code: UInt32) {
    dropOutput()
    connection?.reset(self, code)
  }

  final func closed(_ code: UInt32) {
    // A whole answer that waits for a paused handler is delivered when that goes on.
    if !isOver, code != HTTP2Code.noError || peerEnd == nil { lost(.fromReset(code)) }
    gone()
  }
}

/// Messages that wait to be sent, without copying them together: one that goes to many peers is in
/// memory once.
private struct RPCOutput {
  private var pieces: [[UInt8]] = []
  private var first = 0
  private var offset = 0
  private(set) var count = 0

  mutating func append(_ piece: [UInt8]) {
    guard !piece.isEmpty else { return }
    pieces.append(piece)
    count += piece.count
  }

  mutating func removeAll() { self = RPCOutput() }

  mutating func move(_ wanted: Int, to target: inout [UInt8]) {
    var left = min(wanted, count)
    count -= left
    while left > 0 {
      let piece = pieces[first]
      let taken = min(left, piece.count - offset)
      target += piece[offset..<(offset + taken)]
      left -= taken
      offset += taken
      guard offset == piece.count else { continue }
      offset = 0
      pieces[first] = []
      first += 1
    }
    if first == pieces.count {
      pieces.removeAll()
      first = 0
    } else if first > 64 {
      pieces.removeFirst(first)
      first = 0
    }
  }
}
