import HTTPModel
import Testing

@testable import HTTPCodec

/// What RFC 9113 asks of a server, one rule a row: what a client sends after its preface and
/// settings, and what comes of it.
struct Rule: Sendable, CustomTestStringConvertible {
  enum Outcome: Sendable, Equatable {
    /// The connection ends with one of these codes.
    case goAway(Set<UInt32>)
    /// The stream is reset with one of these codes, and the connection goes on.
    case reset(Set<UInt32>)
    /// The last stream is answered.
    case answer
    /// A PING is answered.
    case pong
  }

  let section: String
  let text: String
  let frames: [[UInt8]]
  let outcome: Outcome

  var testDescription: String { "§\(section) \(text)" }

  init(_ section: String, _ text: String, _ outcome: Outcome, _ frames: [UInt8]...) {
    self.section = section
    self.text = text
    self.outcome = outcome
    self.frames = frames
  }
}

private let protocolError: UInt32 = 1
private let flowControl: UInt32 = 3
private let streamClosed: UInt32 = 5
private let frameSize: UInt32 = 6
private let refused: UInt32 = 7
private let compression: UInt32 = 9

private typealias F = Frame

private func connection(_ codes: UInt32...) -> Rule.Outcome { .goAway(Set(codes)) }
private func stream(_ codes: UInt32...) -> Rule.Outcome { .reset(Set(codes)) }

private func request(_ changes: (String, String)...) -> [(String, String)] { F.get + changes }

private func without(_ name: String) -> [(String, String)] { F.get.filter { $0.0 != name } }

private let large = [UInt8](repeating: 0, count: 16385)

private let rules: [Rule] = [
  Rule("4.1", "a frame of an unknown type is ignored", .pong, F.raw(0x16, [1, 2]), F.ping),
  Rule(
    "4.1", "undefined flags are ignored", .pong, F.raw(6, flags: 0x16, [0, 1, 2, 3, 4, 5, 6, 7])),
  Rule(
    "4.1", "the reserved bit is ignored", .pong,
    F.raw(6, stream: 0x8000_0000, [0, 1, 2, 3, 4, 5, 6, 7])),
  Rule(
    "4.2", "DATA of 2^14 bytes is taken", .answer, F.headers(1, F.post, flags: F.endHeaders),
    F.raw(0, flags: F.endStream, stream: 1, [UInt8](repeating: 0, count: 16384))),
  Rule(
    "4.2", "DATA beyond the frame size", connection(frameSize),
    F.headers(1, F.post, flags: F.endHeaders), F.raw(0, flags: F.endStream, stream: 1, large)),
  Rule(
    "4.2", "HEADERS beyond the frame size", connection(frameSize),
    F.raw(1, flags: F.whole, stream: 1, large)),
  Rule(
    "4.3", "a header block that is none", connection(compression),
    F.raw(1, flags: F.whole, stream: 1, [0x40])),
  Rule(
    "4.3", "PRIORITY within a header block", connection(protocolError),
    F.headers(1, flags: F.endStream), F.raw(2, stream: 1, [0, 0, 0, 0, 255])),
  Rule(
    "4.3", "HEADERS of another stream within a header block", connection(protocolError),
    F.headers(1, flags: F.endStream), F.headers(3)),
  Rule("5.1", "idle: DATA", connection(protocolError), F.data(1, "x", flags: F.endStream)),
  Rule("5.1", "idle: RST_STREAM", connection(protocolError), F.reset(1)),
  Rule("5.1", "idle: WINDOW_UPDATE", connection(protocolError), F.windowUpdate(1, 100)),
  Rule(
    "5.1", "idle: CONTINUATION", connection(protocolError),
    F.raw(9, flags: F.endHeaders, stream: 1, F.block(F.get))),
  Rule(
    "5.1", "closed: DATA", connection(streamClosed), F.headers(1),
    F.data(1, "x", flags: F.endStream)),
  Rule("5.1", "closed: HEADERS", connection(streamClosed), F.headers(1), F.headers(1)),
  Rule(
    "5.1", "closed: CONTINUATION", connection(streamClosed, protocolError), F.headers(1),
    F.raw(9, flags: F.endHeaders, stream: 1, F.block(F.get))),
  Rule(
    "5.1", "closed by RST_STREAM: DATA", connection(streamClosed),
    F.headers(1, F.post, flags: F.endHeaders), F.reset(1), F.data(1, "x", flags: F.endStream)),
  Rule(
    "5.1", "closed by RST_STREAM: HEADERS", connection(streamClosed),
    F.headers(1, F.post, flags: F.endHeaders), F.reset(1), F.headers(1)),
  Rule(
    "5.1", "closed by RST_STREAM: CONTINUATION", connection(streamClosed, protocolError),
    F.headers(1, F.post, flags: F.endHeaders), F.reset(1),
    F.raw(9, flags: F.endHeaders, stream: 1, F.block(F.get))),
  Rule(
    "5.1", "closed: WINDOW_UPDATE is no mistake", .pong, F.headers(1), F.windowUpdate(1, 9), F.ping),
  Rule("5.1", "closed: RST_STREAM is no mistake", .pong, F.headers(1), F.reset(1), F.ping),
  Rule("5.1.1", "an even stream id", connection(protocolError), F.headers(2)),
  Rule("5.1.1", "a smaller stream id", connection(protocolError), F.headers(5), F.headers(3)),
  Rule(
    "5.1.1", "DATA on a stream that was left out", connection(streamClosed), F.headers(5),
    F.data(3, "x")),
  Rule(
    "5.3.1", "HEADERS that depend on themselves", connection(protocolError),
    F.raw(1, flags: F.whole | 0x20, stream: 1, [0, 0, 0, 1, 255] + F.block(F.get))),
  Rule(
    "5.3.1", "PRIORITY that depends on itself", connection(protocolError),
    F.raw(2, stream: 1, [0, 0, 0, 1, 255])),
  Rule(
    "5.5", "an unknown frame within a header block", connection(protocolError),
    F.headers(1, flags: F.endStream), F.raw(0x16, [1]),
    F.raw(9, flags: F.endHeaders, stream: 1, [])),
  Rule("6.1", "DATA on stream 0", connection(protocolError), F.data(0, "x")),
  Rule(
    "6.1", "padding longer than DATA", connection(protocolError),
    F.headers(1, F.post, flags: F.endHeaders),
    F.raw(0, flags: F.endStream | F.padded, stream: 1, [6, 0, 0])),
  Rule("6.2", "HEADERS on stream 0", connection(protocolError), F.headers(0)),
  Rule(
    "6.2", "padding longer than HEADERS", connection(protocolError),
    F.raw(1, flags: F.whole | F.padded, stream: 1, [200] + F.block(F.get))),
  Rule(
    "6.3", "PRIORITY on stream 0", connection(protocolError), F.raw(2, [0, 0, 0, 3, 1])),
  Rule(
    "6.3", "PRIORITY of another length", connection(frameSize),
    F.headers(1, F.post, flags: F.endHeaders), F.raw(2, stream: 1, [0, 0, 0, 3])),
  Rule("6.4", "RST_STREAM on stream 0", connection(protocolError), F.reset(0)),
  Rule(
    "6.4", "RST_STREAM of another length", connection(frameSize),
    F.headers(1, F.post, flags: F.endHeaders), F.raw(3, stream: 1, [0, 0, 0])),
  Rule(
    "6.5", "SETTINGS, acknowledged with a payload", connection(frameSize), F.raw(4, flags: 1, [0])),
  Rule("6.5", "SETTINGS on a stream", connection(protocolError), F.raw(4, stream: 1)),
  Rule("6.5", "SETTINGS of another length", connection(frameSize), F.raw(4, [0, 3, 0])),
  Rule("6.5.2", "ENABLE_PUSH of 2", connection(protocolError), F.settings((2, 2))),
  Rule("6.5.2", "INITIAL_WINDOW_SIZE of 2^31", connection(flowControl), F.settings((4, 1 << 31))),
  Rule("6.5.2", "MAX_FRAME_SIZE below 2^14", connection(protocolError), F.settings((5, 16383))),
  Rule("6.5.2", "MAX_FRAME_SIZE above 2^24-1", connection(protocolError), F.settings((5, 1 << 24))),
  Rule("6.5.2", "an unknown setting is ignored", .pong, F.settings((0xFF, 1)), F.ping),
  Rule("6.7", "PING is answered", .pong, F.ping),
  Rule(
    "6.7", "PING on a stream", connection(protocolError),
    F.raw(6, stream: 1, [0, 0, 0, 0, 0, 0, 0, 0])),
  Rule("6.7", "PING of another length", connection(frameSize), F.raw(6, [0, 0, 0, 0, 0, 0])),
  Rule(
    "6.8", "GOAWAY on a stream", connection(protocolError),
    F.raw(7, stream: 1, [0, 0, 0, 0, 0, 0, 0, 0])),
  Rule("6.9", "WINDOW_UPDATE of 0", connection(protocolError), F.windowUpdate(0, 0)),
  Rule(
    "6.9", "WINDOW_UPDATE of 0 on a stream", connection(protocolError),
    F.headers(1, F.post, flags: F.endHeaders), F.windowUpdate(1, 0)),
  Rule("6.9", "WINDOW_UPDATE of another length", connection(frameSize), F.raw(8, [0, 0, 1])),
  Rule(
    "6.9.1", "the connection's window beyond 2^31-1", connection(flowControl),
    F.windowUpdate(0, 0x7FFF_FFFF), F.windowUpdate(0, 0x7FFF_FFFF)),
  Rule(
    "6.9.1", "a stream's window beyond 2^31-1", stream(flowControl),
    F.headers(1, F.post, flags: F.endHeaders), F.windowUpdate(1, 0x7FFF_FFFF),
    F.windowUpdate(1, 0x7FFF_FFFF)),
  // The connection should end; nghttp2 resets each such stream, which does no less for the others.
  Rule(
    "6.9.2", "SETTINGS that take a stream's window beyond 2^31-1", stream(flowControl),
    F.headers(1, F.post, flags: F.endHeaders), F.windowUpdate(1, 0x7FFF_FFFF - 65535),
    F.settings((4, 65536))),
  Rule(
    "6.10", "several CONTINUATION frames", .answer, F.headers(1, flags: F.endStream),
    F.raw(9, stream: 1, F.block([("a", "b")])),
    F.raw(9, flags: F.endHeaders, stream: 1, F.block([("c", "d")]))),
  Rule(
    "6.10", "DATA within a header block", connection(protocolError),
    F.headers(1, flags: F.endStream), F.data(1, "x")),
  Rule(
    "6.10", "CONTINUATION on stream 0", connection(protocolError),
    F.headers(1, flags: F.endStream), F.raw(9, flags: F.endHeaders, F.block([("a", "b")]))),
  Rule(
    "6.10", "CONTINUATION behind END_HEADERS", connection(protocolError),
    F.headers(1, F.post, flags: F.endHeaders),
    F.raw(9, flags: F.endHeaders, stream: 1, F.block([("a", "b")]))),
  Rule(
    "6.10", "CONTINUATION behind DATA", connection(protocolError),
    F.headers(1, F.post, flags: F.endHeaders), F.data(1, "x"),
    F.raw(9, flags: F.endHeaders, stream: 1, F.block([("a", "b")]))),
  Rule(
    "7", "an unknown error code in GOAWAY", .answer, F.headers(1),
    F.raw(7, [0, 0, 0, 0, 0, 0, 0, 0xFF])),
  Rule(
    "7", "an unknown error code in RST_STREAM", .pong, F.headers(1, F.post, flags: F.endHeaders),
    F.reset(1, 255), F.ping),
  Rule(
    "8.1", "trailers that do not end the stream", stream(protocolError),
    F.headers(1, F.post, flags: F.endHeaders), F.headers(1, [("a", "b")], flags: F.endHeaders)),
  Rule("8.2", "an upper-case name", stream(protocolError), F.headers(1, request(("X-A", "b")))),
  Rule("8.2", "an empty name", stream(protocolError), F.headers(1, request(("", "b")))),
  Rule(
    "8.2.1", "a line break in a value", stream(protocolError),
    F.headers(1, request(("a", "b\r\nc")))),
  Rule("8.2.1", "a NUL in a value", stream(protocolError), F.headers(1, request(("a", "b\0")))),
  Rule(
    "8.2.1", "a blank before a value", stream(protocolError), F.headers(1, request(("a", " b")))),
  Rule("8.2.1", "a colon in a name", stream(protocolError), F.headers(1, request(("a:", "b")))),
  Rule(
    "8.2.2", "connection", stream(protocolError),
    F.headers(1, request(("connection", "keep-alive")))),
  Rule(
    "8.2.2", "proxy-connection", stream(protocolError),
    F.headers(1, request(("proxy-connection", "x")))),
  Rule("8.2.2", "keep-alive", stream(protocolError), F.headers(1, request(("keep-alive", "x")))),
  Rule(
    "8.2.2", "transfer-encoding", stream(protocolError),
    F.headers(1, request(("transfer-encoding", "chunked")))),
  Rule("8.2.2", "upgrade", stream(protocolError), F.headers(1, request(("upgrade", "h2c")))),
  Rule(
    "8.2.2", "te of another value", stream(protocolError), F.headers(1, request(("te", "gzip")))),
  Rule("8.2.2", "te: trailers", .answer, F.headers(1, request(("te", "trailers")))),
  Rule("8.3", "an unknown pseudo field", stream(protocolError), F.headers(1, request((":x", "y")))),
  Rule(
    "8.3", "a response's pseudo field", stream(protocolError),
    F.headers(1, request((":status", "200")))),
  Rule(
    "8.3", "a pseudo field behind others", stream(protocolError),
    F.headers(1, without(":path") + [("a", "b"), (":path", "/")])),
  Rule(
    "8.3", "a pseudo field in trailers", stream(protocolError),
    F.headers(1, F.post, flags: F.endHeaders), F.headers(1, [(":method", "x")])),
  Rule(
    "8.3.1", "an empty :path", stream(protocolError),
    F.headers(1, without(":path") + [(":path", "")])),
  Rule("8.3.1", "no :method", stream(protocolError), F.headers(1, without(":method"))),
  Rule("8.3.1", "no :scheme", stream(protocolError), F.headers(1, without(":scheme"))),
  Rule("8.3.1", "no :path", stream(protocolError), F.headers(1, without(":path"))),
  Rule("8.3.1", ":method twice", stream(protocolError), F.headers(1, [(":method", "GET")] + F.get)),
  Rule(
    "8.3.1", ":scheme twice", stream(protocolError), F.headers(1, [(":scheme", "http")] + F.get)),
  Rule("8.3.1", ":path twice", stream(protocolError), F.headers(1, [(":path", "/")] + F.get)),
  Rule(
    "8.1.1", "less data than content-length", stream(protocolError),
    F.headers(1, F.post + [("content-length", "9")], flags: F.endHeaders),
    F.data(1, "test", flags: F.endStream)),
  Rule(
    "8.1.1", "more data than content-length", stream(protocolError),
    F.headers(1, F.post + [("content-length", "1")], flags: F.endHeaders), F.data(1, "te"),
    F.data(1, "st", flags: F.endStream)),
  Rule(
    "8.1.1", "content-length that is no number", stream(protocolError),
    F.headers(1, F.post + [("content-length", "-1")], flags: F.endHeaders)),
  Rule(
    "8.1.1", "content-length twice", stream(protocolError),
    F.headers(
      1, F.post + [("content-length", "1"), ("content-length", "1")], flags: F.endHeaders)),
  Rule(
    "8.4", "PUSH_PROMISE of a client", connection(protocolError),
    F.raw(5, flags: 4, stream: 1, F.number(2) + F.block(F.get))),
  Rule(
    "8.4", "PUSH_PROMISE on an open stream", connection(protocolError),
    F.headers(1, F.post, flags: F.endHeaders),
    F.raw(5, flags: 4, stream: 1, F.number(2) + F.block(F.get))),
  Rule(
    "8.5", "CONNECT with :path", stream(protocolError),
    F.headers(1, [(":method", "CONNECT"), (":authority", "h:1"), (":path", "/")])),
  Rule(
    "7541 §2.3.3", "an index beyond the tables", connection(compression),
    F.raw(1, flags: F.whole, stream: 1, F.block(F.get) + [0xC6])),
  Rule(
    "7541 §4.2", "a table size at the block's end", connection(compression),
    F.raw(1, flags: F.whole, stream: 1, F.block(F.get) + [0x20])),
  Rule(
    "7541 §5.2", "padding of eight bits", connection(compression),
    F.raw(1, flags: F.whole, stream: 1, F.block(F.get) + [0, 1, 97, 0x84, 0x49, 0x50, 0x9F, 0xFF])),
  Rule(
    "7541 §5.2", "padding with zeros", connection(compression),
    F.raw(1, flags: F.whole, stream: 1, F.block(F.get) + [0, 1, 97, 0x83, 0x49, 0x50, 0x90])),
  Rule(
    "7541 §5.2", "the end of string symbol", connection(compression),
    F.raw(1, flags: F.whole, stream: 1, F.block(F.get) + [0, 1, 97, 0x84, 0xFF, 0xFF, 0xFF, 0xFF])),
  Rule(
    "7541 §6.1", "index 0", connection(compression),
    F.raw(1, flags: F.whole, stream: 1, F.block(F.get) + [0x80])),
  Rule(
    "7541 §6.3", "a table larger than allowed", connection(compression),
    F.raw(1, flags: F.whole, stream: 1, [0x3F, 0xE1, 0x7F] + F.block(F.get))),
]

@Suite("HTTP/2 as RFC 9113 has it")
struct HTTP2ConformanceTests {
  @Test("the rule holds", arguments: rules + genericRules)
  func rule(_ rule: Rule) {
    let peer = SessionPeer()
    peer.talk()
    for frame in rule.frames { peer.receive(frame) }
    let frames = peer.frames
    let last = frames.last { $0.type == 7 }
    switch rule.outcome {
    case .goAway(let codes):
      #expect(last?.code.map(codes.contains) == true, "\(peer.log)")
      #expect(peer.isOver)
    case .reset(let codes):
      let reset = frames.last { $0.type == 3 }
      #expect(reset?.code.map(codes.contains) == true, "\(peer.log)")
      #expect(!peer.isOver)
    case .answer:
      #expect(frames.contains { $0.type == 1 && $0.stream == 1 }, "\(peer.log)")
      #expect(frames.contains { $0.type == 0 && $0.flags & 1 == 1 })
      #expect(last == nil)
    case .pong:
      #expect(frames.contains { $0.type == 6 && $0.flags & 1 == 1 }, "\(peer.log)")
      #expect(last == nil)
    }
  }

  @Test("frames may be cut anywhere")
  func everySplit() {
    for rule in rules + genericRules {
      let whole = SessionPeer()
      whole.talk()
      for frame in rule.frames { whole.receive(frame) }
      let pieces = SessionPeer()
      for byte in Frame.preface + Frame.settings + rule.frames.flatMap({ $0 }) {
        pieces.receive([byte])
      }
      let ends = [whole, pieces].map { $0.frames.last { [0, 3, 6, 7].contains($0.type) } }
      #expect(ends[0]?.type == ends[1]?.type, "\(rule.testDescription)")
      #expect(ends[0]?.code == ends[1]?.code, "\(rule.testDescription)")
    }
  }

  @Test("half closed by the peer: more of it ends the connection", arguments: [0, 1, 9])
  func halfClosed(type: UInt8) {
    let peer = SessionPeer()
    peer.answers = false
    let more =
      switch type {
      case 0: Frame.data(1, "x")
      case 1: Frame.headers(1)
      default: Frame.raw(type, flags: Frame.endHeaders, stream: 1, Frame.block([("a", "b")]))
      }
    peer.talk(Frame.headers(1), more)
    // CONTINUATION is out of place whatever the stream's state is.
    #expect(peer.frames.last?.code == (type == 9 ? protocolError : streamClosed))
    #expect(peer.isOver)
  }

  @Test("a preface that is none ends the connection")
  func badPreface() {
    let peer = SessionPeer()
    peer.receive(Array("INVALID CONNECTION PREFACE\r\n\r\n".utf8))
    #expect(peer.frames.last?.code == protocolError)
    #expect(peer.isOver)
  }

  @Test("more streams than agreed on are refused")
  func tooManyStreams() {
    let peer = SessionPeer { $0.maxConcurrentStreams = 2 }
    peer.answers = false
    peer.talk(Frame.raw(4, flags: 1), Frame.headers(1), Frame.headers(3), Frame.headers(5))
    let end = peer.frames.last { $0.type == 3 || $0.type == 7 }
    #expect([protocolError, refused].contains(end?.code ?? 0))
  }

  @Test("a malformed message ends the connection unless the configuration says otherwise")
  func strictMessaging() {
    let peer = SessionPeer { $0.staysOpenAfterError = false }
    peer.talk(Frame.headers(1, request(("X-A", "b"))))
    #expect(peer.frames.last?.code == protocolError)
    #expect(peer.isOver)
    #expect(peer.session.value.messagingErrors == 1)
  }

  @Test("settings are told and acknowledged")
  func settings() {
    let peer = SessionPeer()
    peer.talk()
    #expect(peer.frames.first?.type == 4)
    #expect(peer.frames.contains { $0.type == 4 && $0.flags & 1 == 1 })
    #expect(peer.log == ["settings"])
  }

  @Test("the body waits for the stream's window")
  func window() {
    let peer = SessionPeer()
    peer.receive(Frame.preface + Frame.settings((4, 3)))
    peer.receive(Frame.headers(1))
    #expect(peer.frames.filter { $0.type == 0 }.map(\.payload.count) == [3])
    peer.receive(Frame.windowUpdate(1, 1))
    peer.receive(Frame.settings((4, 100)))
    let data = peer.frames.filter { $0.type == 0 }
    #expect(data.map(\.payload.count) == [3, 1, 1])
    #expect(data.last?.flags == 1)
  }

  @Test("a window that has become negative is waited for")
  func negativeWindow() {
    let peer = SessionPeer()
    peer.receive(Frame.preface + Frame.settings((4, 3)))
    peer.receive(Frame.headers(1))
    peer.receive(Frame.settings((4, 2)))
    peer.receive(Frame.windowUpdate(1, 1))
    #expect(peer.frames.filter { $0.type == 0 }.count == 1)
    peer.receive(Frame.windowUpdate(1, 2))
    #expect(peer.frames.filter { $0.type == 0 }.map(\.payload.count) == [3, 2])
  }

  @Test("windows open only for what was passed on")
  func manualWindow() {
    let peer = SessionPeer { $0.streamWindow = 65535 }
    peer.consumes = false
    let piece = String(repeating: "x", count: 16000)
    peer.talk(Frame.headers(1, Frame.post, flags: Frame.endHeaders))
    for _ in 1...4 { peer.receive(Frame.data(1, piece)) }
    #expect(peer.frames.filter { $0.type == 8 && $0.stream == 1 }.isEmpty)
    peer.session.consume(1, 64000)
    _ = peer.session.send()
    #expect(peer.frames.filter { $0.type == 8 && $0.stream == 1 }.count == 1)
  }

  @Test("data beyond the window ends the connection")
  func windowOverrun() {
    let peer = SessionPeer { $0.streamWindow = 65535 }
    peer.consumes = false
    let piece = String(repeating: "x", count: 16000)
    peer.talk(Frame.headers(1, Frame.post, flags: Frame.endHeaders))
    for _ in 1...5 { peer.receive(Frame.data(1, piece)) }
    let end = peer.frames.last { $0.type == 3 || $0.type == 7 }
    #expect(end?.code == flowControl)
  }

  @Test("a frame that waited for the socket goes with its stream")
  func givenUpWhileBlocked() {
    let peer = SessionPeer()
    peer.talk()
    peer.blocksBodies = true
    peer.receive(Frame.headers(1))
    peer.giveUp(1)
    peer.blocksBodies = false
    peer.receive(Frame.ping)
    #expect(!peer.frames.contains { $0.type == 0 })
    #expect(peer.frames.contains { $0.type == 3 && $0.stream == 1 })
    #expect(peer.frames.contains { $0.type == 6 && $0.flags & 1 == 1 })
    #expect(!peer.isOver)
  }

  @Test("memory goes back when the session closes")
  func memory() {
    let peer = SessionPeer()
    peer.talk(Frame.headers(1), Frame.headers(3, Frame.post, flags: Frame.endHeaders))
    #expect(peer.liveBytes > 0)
    peer.session.close()
    #expect(peer.liveBytes == 0)
  }
}
