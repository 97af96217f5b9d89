// What the fuzz targets of the HTTP/1 codec share: one side of a connection, read message by message
// as the data plane reads it, with a transcript of what was understood.

import Engine
import HTTPCodec
import HTTPModel

// AddressSanitizer's own (sanitizer/asan_interface.h): nobody may touch these bytes, or may again.
@_silgen_name("__asan_poison_memory_region")
private func poison(_ start: UnsafeMutableRawPointer, _ count: Int)
@_silgen_name("__asan_unpoison_memory_region")
private func unpoison(_ start: UnsafeMutableRawPointer, _ count: Int)

/// The blocks of all conversations: a pool lives as long as its worker, and so does this one.
nonisolated(unsafe) private var pool = BlockPool()

/// Reads a stream of messages that arrives in pieces. Two conversations about the same bytes must
/// have the same transcript, wherever the bytes were cut: otherwise somebody between two proxies
/// could decide what a request is.
final class Conversation {
  /// Whose messages these are.
  enum Side {
    case requests
    /// Answers; every `head`th one is an answer to a HEAD request (0: none).
    case responses(head: Int)
  }

  enum Ending {
    /// More bytes would be read.
    case open
    /// A message said that it is the last one.
    case closed
    /// Refused.
    case failed
  }

  private enum Phase {
    case head, body, trailers
  }

  private(set) var ending = Ending.open
  /// Heads, bodies and trailers as they were understood.
  private(set) var transcript: [UInt8] = []

  private let side: Side
  // Whether heads wait for their end to be seen before they are parsed, as after a first short read.
  private let scans: Bool
  private var parser = HTTP1HeadParser(capacity: Conversation.maxFields)
  private var reader = HTTP1HeadParser(capacity: Conversation.maxFields)
  private var scanner = HeadScanner()
  private var decoder = BodyDecoder()
  private var phase = Phase.head
  // The stream's bytes, the part of them that has arrived, and what of it has been used.
  private let memory: UnsafeMutablePointer<UInt8>
  private let size: Int
  private var arrived = 0
  private var used = 0
  private var keepAlive = true
  private var messages = 0

  private static let maxFields = 100

  /// - Parameter stream: all that will ever arrive. None of it has yet.
  init(_ side: Side, scans: Bool, of stream: ArraySlice<UInt8>) {
    self.side = side
    self.scans = scans
    size = stream.count
    memory = .allocate(capacity: max(size, 1))
    _ = UnsafeMutableBufferPointer(start: memory, count: size).initialize(from: stream)
    poison(memory, size)
  }

  deinit {
    unpoison(memory, size)
    memory.deallocate()
  }

  /// Takes the next bytes of the stream.
  func receive(_ count: Int) {
    guard ending == .open else { return }
    // AddressSanitizer sees a read of bytes that have not arrived.
    unpoison(memory + arrived, count)
    arrived += count
    while ending == .open, used < arrived, step() {}
  }

  /// Reads what it can of one part of a message; false when it needs more bytes.
  private func step() -> Bool {
    let next = memory + used
    let count = arrived - used
    let taken: Int?
    switch phase {
    case .head: taken = readHead(next, count)
    case .body: taken = readBody(Bytes(base: next, count: count))
    case .trailers: taken = readTrailers(next, count)
    }
    guard let taken else { return false }
    precondition(taken <= count, "used bytes that are not there")
    used += taken
    return true
  }

  // MARK: Heads

  private func readHead(_ memory: UnsafeMutablePointer<UInt8>, _ count: Int) -> Int? {
    var end: Int?
    if scans {
      switch scanner.scan(Bytes(base: memory, count: count)) {
      case .incomplete: return nil
      case .invalid: return fail()
      case .complete(let scanned): end = scanned
      }
    }
    switch parse(&parser, memory, count) {
    case .incomplete:
      precondition(end == nil, "the scanner saw an end that the parser does not see")
      return nil
    case .invalid:
      return fail()
    case .complete(let used):
      precondition(end == nil || end == used, "scanner and parser differ about a head's end")
      let start = parser.start
      return take(Bytes(base: memory + start, count: used - start)) ? used : fail()
    }
  }

  private func parse(
    _ parser: inout HTTP1HeadParser, _ memory: UnsafeMutablePointer<UInt8>, _ count: Int
  ) -> HeadOutcome {
    switch side {
    case .requests: parser.parseRequest(memory, count, maxFields: Self.maxFields)
    case .responses: parser.parseResponse(memory, count, maxFields: Self.maxFields)
    }
  }

  /// Understands a head that has been parsed; false when its framing is refused.
  private func take(_ text: Bytes) -> Bool {
    var map = HeaderMap()
    map.load(text, parser.found, from: &pool)
    defer { map.release(into: &pool) }
    checkFields(map)
    let (framing, error) = framing(of: map, parser)
    guard error == nil else { return false }

    note("\n=")
    if case .requests = side {
      note(text[parser.method.lowerBound, parser.method.upperBound])
      note(" ")
      note(text[parser.target.lowerBound, parser.target.upperBound])
    } else {
      note("\(parser.status)")
    }
    note(" 1.\(parser.minor) \(framing.body) \(framing.keepAlive) \(framing.wantsUpgrade)\n")
    noteFields(map)
    checkRoundTrip(&map, text, framing)

    messages += 1
    scanner = HeadScanner()
    decoder = BodyDecoder(framing.body)
    // An interim response is followed by another head on the same connection (RFC 9110 §15.2).
    let isInterim = parser.status / 100 == 1 && parser.status != 101
    keepAlive = framing.keepAlive || isInterim
    if decoder.isDone { finishMessage() } else { phase = .body }
    return true
  }

  private func framing(
    of map: borrowing HeaderMap, _ parser: borrowing HTTP1HeadParser
  ) -> (MessageFraming, HTTP1Error?) {
    switch side {
    case .requests:
      HTTP1Framing.request(map, minor: parser.minor)
    case .responses(let head):
      HTTP1Framing.response(
        map, status: parser.status, minor: parser.minor,
        toHEAD: head > 0 && (messages + 1) % head == 0)
    }
  }

  /// What no field may hold, whoever sent it: it would end a line, or a head, for somebody else.
  private func checkFields(_ map: borrowing HeaderMap) {
    for index in 0..<map.count {
      precondition(map.name(index).isToken, "a field name that is no token")
      let value = map.value(index)
      for position in 0..<value.count {
        let byte = value[position]
        precondition(byte != 0 && byte != 10 && byte != 13, "a field value that breaks its line")
      }
      precondition(value.trimmed == value, "a field value with blanks around it")
    }
  }

  /// Writes the head as it would be forwarded, and reads that: it must say the same.
  private func checkRoundTrip(_ map: inout HeaderMap, _ text: Bytes, _ framing: MessageFraming) {
    let status = parser.status
    HTTP1Framing.removeHopByHop(&map, keepingUpgrade: framing.wantsUpgrade)
    if case .requests = side {
      map.add(.method, text[parser.method.lowerBound, parser.method.upperBound], from: &pool)
      map.add(.path, text[parser.target.lowerBound, parser.target.upperBound], from: &pool)
    }
    precondition(!map.overflowed, "a head of this size fits")

    let capacity = map.writtenBytes + HTTP1Encoder.startLineRoom
    let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity)
    defer { memory.deallocate() }
    var writer = ByteWriter(base: memory, capacity: capacity)
    switch side {
    case .requests: HTTP1Encoder.request(map, to: &writer)
    case .responses: HTTP1Encoder.response(map, status: status, to: &writer)
    }
    precondition(!writer.overflowed, "a head takes no more than it says")

    let written = writer.count
    guard case .complete(let used) = parse(&reader, memory, written), used == written else {
      preconditionFailure("what we write is not one head")
    }
    var again = HeaderMap()
    again.load(Bytes(base: memory, count: used), reader.found, from: &pool)
    defer { again.release(into: &pool) }
    let (second, error) = self.framing(of: again, reader)
    // What we write is HTTP/1.1 and leaves the hop's own fields out, so only the body must agree.
    precondition(error == nil && second.body == framing.body, "what we write is framed otherwise")
    checkSameFields(map, again)
  }

  private func checkSameFields(_ sent: borrowing HeaderMap, _ received: borrowing HeaderMap) {
    var position = 0
    for index in 0..<sent.count where sent.isLive(index) && !sent.entry(index).id.isPseudo {
      precondition(position < received.count, "a field is missing")
      precondition(sent.name(index) == received.name(position), "another field's name")
      precondition(sent.value(index) == received.value(position), "another value")
      position += 1
    }
    precondition(position == received.count, "a field too many")
  }

  // MARK: Bodies

  private func readBody(_ input: Bytes) -> Int? {
    var position = 0
    while true {
      let before = position
      switch decoder.next(input, at: &position) {
      case .data(let data):
        precondition(position > before && !data.isEmpty, "progress")
        note(data)
      case .end:
        finishMessage()
        return position
      case .trailers:
        phase = .trailers
        return position
      case .needMore:
        precondition(position == input.count, "left bytes that it wants more of")
        return position
      case .invalid:
        return fail()
      }
      if decoder.isDone {
        finishMessage()
        return position
      }
    }
  }

  private func readTrailers(_ memory: UnsafeMutablePointer<UInt8>, _ count: Int) -> Int? {
    switch parser.parseTrailers(memory, count, maxFields: Self.maxFields) {
    case .incomplete:
      return count > Limits.trailerBytes ? fail() : nil
    case .invalid:
      return fail()
    case .complete(let used):
      guard used <= Limits.trailerBytes else { return fail() }
      var map = HeaderMap()
      map.load(Bytes(base: memory, count: used), parser.found, from: &pool)
      checkFields(map)
      note("\n+")
      noteFields(map)
      map.release(into: &pool)
      decoder.finishTrailers()
      finishMessage()
      return used
    }
  }

  private func finishMessage() {
    phase = .head
    note("\n.")
    if !keepAlive { ending = .closed }
  }

  private func fail() -> Int? {
    ending = .failed
    return nil
  }

  // MARK: The transcript

  private func noteFields(_ map: borrowing HeaderMap) {
    for index in 0..<map.count {
      note(map.name(index))
      note(":")
      note(map.value(index))
      note("\n")
    }
  }

  private func note(_ text: String) { transcript += text.utf8 }

  private func note(_ bytes: Bytes) {
    transcript += UnsafeBufferPointer(start: bytes.base, count: bytes.count)
  }
}

/// Something that depends on what was read: a result that nobody uses would be optimised away, and
/// the parser with it.
nonisolated(unsafe) public var sink = 0

/// Reads the same bytes at once and in pieces of sizes that `seed` chooses; both must agree.
func compareSplits(_ bytes: ArraySlice<UInt8>, _ side: Conversation.Side, seed: UInt8) {
  let whole = Conversation(side, scans: false, of: bytes)
  whole.receive(bytes.count)

  let pieces = Conversation(side, scans: true, of: bytes)
  var state = UInt32(seed) &+ 1
  var rest = bytes.count
  while rest > 0, pieces.ending == .open {
    // Pieces of 1 to 16 bytes; for the first seeds always single bytes.
    state = state &* 1_664_525 &+ 1_013_904_223
    let size = seed < 32 ? 1 : min(rest, Int(state >> 28) + 1)
    pieces.receive(size)
    rest -= size
  }

  precondition(whole.transcript == pieces.transcript, "where bytes are cut changes what they mean")
  precondition(
    pieces.ending != .failed || whole.ending == .failed, "refused in pieces, accepted as a whole")
  precondition(
    whole.ending != .closed || pieces.ending == .closed, "the last message in one reading only")
  precondition(pool.liveBytes == 0, "a block that nobody gave back")
  sink &+= whole.transcript.count
}
