import Engine
import HTTPModel

@testable import HTTPCodec

/// Builds frames as RFC 9113 §4.1 lays them out, the wrong ones too.
enum Frame {
  static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

  static func raw(
    _ type: UInt8, flags: UInt8 = 0, stream: UInt32 = 0, _ payload: [UInt8] = []
  ) -> [UInt8] {
    let n = payload.count
    return [UInt8(n >> 16 & 255), UInt8(n >> 8 & 255), UInt8(n & 255), type, flags]
      + number(stream) + payload
  }

  static func number(_ value: UInt32) -> [UInt8] {
    [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
  }

  static let endStream: UInt8 = 1
  static let endHeaders: UInt8 = 4
  static let whole: UInt8 = 5
  static let padded: UInt8 = 8

  static let settings = raw(4)
  static let ping = raw(6, [1, 2, 3, 4, 5, 6, 7, 8])

  static func settings(_ entries: (UInt16, UInt32)...) -> [UInt8] {
    raw(4, entries.flatMap { [UInt8($0.0 >> 8), UInt8($0.0 & 255)] + number($0.1) })
  }

  static func data(_ stream: UInt32, _ text: String = "", flags: UInt8 = 0) -> [UInt8] {
    raw(0, flags: flags, stream: stream, Array(text.utf8))
  }

  static func headers(
    _ stream: UInt32, _ fields: [(String, String)] = get, flags: UInt8 = whole
  ) -> [UInt8] { raw(1, flags: flags, stream: stream, block(fields)) }

  static func reset(_ stream: UInt32, _ code: UInt32 = 8) -> [UInt8] {
    raw(3, stream: stream, number(code))
  }

  static func windowUpdate(_ stream: UInt32, _ increment: UInt32) -> [UInt8] {
    raw(8, stream: stream, number(increment))
  }

  /// Literal fields without indexing (RFC 7541 §6.2.2); names and values of at most 126 bytes.
  static func block(_ fields: [(String, String)]) -> [UInt8] {
    var bytes: [UInt8] = []
    for (name, value) in fields {
      bytes += [0, UInt8(name.utf8.count)]
      bytes += Array(name.utf8)
      bytes.append(UInt8(value.utf8.count))
      bytes += Array(value.utf8)
    }
    return bytes
  }

  static let get = [
    (":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "host"),
  ]
  static let post = [
    (":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "host"),
  ]
}

/// A frame that a session sent.
struct SentFrame: Equatable {
  let type: UInt8
  let flags: UInt8
  let stream: UInt32
  let payload: [UInt8]

  /// The error code of RST_STREAM and GOAWAY.
  var code: UInt32? {
    let start = type == 3 ? 0 : 4
    guard type == 3 || type == 7, payload.count >= start + 4 else { return nil }
    return payload[start..<(start + 4)].reduce(0) { $0 << 8 | UInt32($1) }
  }

  static func all(in bytes: [UInt8]) -> [SentFrame] {
    var frames: [SentFrame] = []
    var rest = bytes[...]
    while rest.count >= 9 {
      let head = Array(rest.prefix(9))
      let length = Int(head[0]) << 16 | Int(head[1]) << 8 | Int(head[2])
      let stream = head[5...8].reduce(0) { $0 << 8 | UInt32($1) }
      frames.append(
        SentFrame(
          type: head[3], flags: head[4], stream: stream,
          payload: Array(rest.dropFirst(9).prefix(length))))
      rest = rest.dropFirst(9 + length)
    }
    return frames
  }
}

/// One side of a connection without a socket. A server answers every whole request with 200 and a
/// body; what it is told, and what it sends, is kept.
@safe
final class SessionPeer {
  let session = Ref<HTTP2Session>.immortal(HTTP2Session())
  private let memory = Ref<HTTP2Memory>.immortal(HTTP2Memory())
  private(set) var log: [String] = []
  private(set) var sent: [UInt8] = []
  private(set) var isOver = false
  var now: UInt64 = 1
  /// Bytes of the answer's body.
  var bodyBytes = 5
  /// Received data opens the windows again at once.
  var consumes = true
  /// Whole requests are answered; else they wait.
  var answers = true
  /// The socket takes no bodies for now.
  var blocksBodies = false
  private var bodies: [Int32: Int] = [:]
  private var starts: [Int32: UInt64] = [:]

  init(_ change: (inout HTTP2Options) -> Void = { _ in }) {
    var options = HTTP2Options()
    options.staysOpenAfterError = true
    change(&options)
    let opened = unsafe session.open(
      options, memory: memory, events: Self.events,
      owner: Unmanaged.passUnretained(self).toOpaque())
    precondition(opened, "memory for a session")
  }

  deinit { session.close() }

  var frames: [SentFrame] { SentFrame.all(in: sent) }
  var liveBytes: Int { memory.value.liveBytes }

  /// Tells the session bytes, and sends what comes of them.
  func receive(_ bytes: [UInt8]) {
    guard !isOver else { return }
    let outcome = bytes.withUnsafeBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return HTTP2Outcome.goesOn }
      return unsafe session.receive(Bytes(base: base, count: buffer.count), at: now)
    }
    let after = session.send()
    if case .over = outcome { isOver = true }
    if case .over = after { isOver = true }
  }

  /// The client's beginning, and these frames.
  func talk(_ frames: [UInt8]...) {
    receive(Frame.preface + Frame.settings)
    for frame in frames { receive(frame) }
  }

  /// Gives up on a stream, whose body is gone.
  func giveUp(_ id: Int32) {
    bodies[id] = 0
    session.reset(id, 2)
  }

  private func answer(_ id: Int32) {
    guard answers else { return }
    bodies[id] = bodyBytes
    var fields = HTTP2FieldList()
    fields.add(Bytes(":status"), Bytes("200"))
    _ = unsafe session.submitResponse(id, fields, body: Self.context(id))
  }

  private static func context(_ id: Int32) -> UnsafeMutableRawPointer {
    guard let context = unsafe UnsafeMutableRawPointer(bitPattern: Int(id)) else {
      preconditionFailure("a stream's id is not 0")
    }
    return unsafe context
  }

  private static func peer(_ raw: UnsafeMutableRawPointer) -> SessionPeer {
    unsafe Unmanaged<SessionPeer>.fromOpaque(raw).takeUnretainedValue()
  }

  private static func id(_ raw: UnsafeMutableRawPointer) -> Int32 {
    Int32(truncatingIfNeeded: Int(bitPattern: raw))
  }

  private static func text(_ base: UnsafePointer<UInt8>, _ count: Int) -> String {
    unsafe Bytes(base: base, count: count).string
  }

  nonisolated(unsafe) private static let events = Ref<HTTP2Events>.immortal(
    unsafe HTTP2Events(
      opened: { owner, id in
        let peer = unsafe SessionPeer.peer(owner)
        peer.log.append("\(id) opened")
        peer.starts[id] = peer.now
        return unsafe SessionPeer.context(id)
      },
      sectionBegan: { owner, stream in
        unsafe SessionPeer.peer(owner).log.append("\(SessionPeer.id(stream)) section")
      },
      field: { owner, stream, name, nameLength, value, valueLength in
        let name = unsafe SessionPeer.text(name, nameLength)
        let value = unsafe SessionPeer.text(value, valueLength)
        unsafe SessionPeer.peer(owner).log.append("\(SessionPeer.id(stream)) \(name): \(value)")
      },
      sectionEnded: { owner, stream, ends in
        let peer = unsafe SessionPeer.peer(owner)
        let id = unsafe SessionPeer.id(stream)
        peer.log.append("\(id) \(ends ? "whole" : "head")")
        if ends { peer.answer(id) }
      },
      data: { owner, stream, data, length in
        let peer = unsafe SessionPeer.peer(owner)
        let id = unsafe SessionPeer.id(stream)
        peer.log.append("\(id) data \(length)")
        if peer.consumes { peer.session.consume(id, length) }
      },
      dataEnded: { owner, stream in
        let peer = unsafe SessionPeer.peer(owner)
        let id = unsafe SessionPeer.id(stream)
        peer.log.append("\(id) whole")
        peer.answer(id)
      },
      sentLast: { owner, stream in
        unsafe SessionPeer.peer(owner).log.append("\(SessionPeer.id(stream)) sent")
      },
      closed: { owner, stream, code, byPeer in
        let peer = unsafe SessionPeer.peer(owner)
        let id = unsafe SessionPeer.id(stream)
        peer.log.append("\(id) closed \(code)\(byPeer ? " by peer" : "")")
        let age = peer.now - (peer.starts[id] ?? 0)
        peer.session.countEnd(isPremature: byPeer && age < 1_000_000_000)
      },
      goingAway: { owner, last, code in
        unsafe SessionPeer.peer(owner).log.append("goaway \(last) \(code)")
      },
      settings: { owner in unsafe SessionPeer.peer(owner).log.append("settings") },
      pong: { owner in unsafe SessionPeer.peer(owner).log.append("pong") },
      available: { owner, stream, most, end in
        let peer = unsafe SessionPeer.peer(owner)
        let id = unsafe SessionPeer.id(stream)
        let left = peer.bodies[id] ?? 0
        let n = min(left, most)
        if n == left { unsafe end.pointee = HTTP2BodyEnd.stream.rawValue }
        return n
      },
      write: { owner, data, length in
        let buffer = unsafe UnsafeBufferPointer(start: data, count: length)
        unsafe SessionPeer.peer(owner).sent.append(contentsOf: buffer)
        return true
      },
      writeBody: { owner, stream, head, length in
        let peer = unsafe SessionPeer.peer(owner)
        let id = unsafe SessionPeer.id(stream)
        guard !peer.blocksBodies else { return HTTP2BodyWrite.blocked.rawValue }
        guard peer.bodies[id] ?? 0 >= length else { return HTTP2BodyWrite.gone.rawValue }
        let buffer = unsafe UnsafeBufferPointer(start: head, count: 9)
        unsafe peer.sent.append(contentsOf: buffer)
        peer.sent.append(contentsOf: [UInt8](repeating: 120, count: length))
        peer.bodies[id] = (peer.bodies[id] ?? 0) - length
        return HTTP2BodyWrite.sent.rawValue
      }))
}
