// libFuzzer's entry into the HTTP/2 session, on either side of a connection. The first byte chooses the
// side and how the others are cut; they are what the peer sends behind its preface.

import Engine
import HTTPCodec
import HTTPModel

/// The memory of all sessions: it lives as long as its worker, and so does this one.
nonisolated(unsafe) private let memory = Ref<HTTP2Memory>.immortal(HTTP2Memory())

/// What a session's owner keeps: how much it was told, and what it has given back.
private final class Owner {
  let session = Ref<HTTP2Session>.immortal(HTTP2Session())
  var open: Set<Int32> = []
  var received = 0
  var consumed = 0
  var sent = 0
  var bodies: [Int32: Int] = [:]
  var isClient = false

  deinit {
    session.pointer.deinitialize(count: 1)
    session.pointer.deallocate()
  }
}

private func owner(_ raw: UnsafeMutableRawPointer) -> Owner {
  Unmanaged<Owner>.fromOpaque(raw).takeUnretainedValue()
}

private func id(_ raw: UnsafeMutableRawPointer) -> Int32 { Int32(Int(bitPattern: raw)) }

private func context(_ id: Int32) -> UnsafeMutableRawPointer {
  UnsafeMutableRawPointer(bitPattern: Int(id))!
}

private func respond(_ owner: Owner, _ stream: Int32) {
  guard !owner.isClient else { return }
  owner.bodies[stream] = 20_000
  var fields = HTTP2FieldList()
  fields.add(Bytes(":status"), Bytes("200"))
  _ = owner.session.submitResponse(stream, fields, body: context(stream))
}

nonisolated(unsafe) private let events = Ref<HTTP2Events>.immortal(
  HTTP2Events(
    opened: { raw, stream in
      precondition(owner(raw).open.insert(stream).inserted, "a stream is opened once")
      return context(stream)
    },
    sectionBegan: { raw, stream in
      precondition(owner(raw).open.contains(id(stream)), "a section of an open stream")
    },
    field: { raw, stream, name, nameLength, value, valueLength in
      // Nothing that comes through may end a line of HTTP/1.
      let name = Bytes(base: name, count: nameLength)
      let value = Bytes(base: value, count: valueLength)
      for index in 0..<value.count {
        precondition(value[index] != 13 && value[index] != 10 && value[index] != 0, "one line")
      }
      for index in 0..<name.count {
        precondition(name[index] > 32 && !(65...90).contains(name[index]), "a lower-case token")
      }
    },
    sectionEnded: { raw, stream, ends in if ends { respond(owner(raw), id(stream)) } },
    data: { raw, stream, _, length in
      let owner = owner(raw)
      precondition(owner.open.contains(id(stream)), "data of an open stream")
      owner.received += length
      let outstanding = owner.received - owner.consumed
      precondition(outstanding <= 65_535 * 2, "no more than the windows")
      // Every other piece is passed on at once.
      if owner.received % 2 == 0 {
        owner.session.consume(id(stream), length)
        owner.consumed += length
      }
    },
    dataEnded: { raw, stream in respond(owner(raw), id(stream)) },
    sentLast: { _, _ in },
    closed: { raw, stream, _, byPeer in
      let owner = owner(raw)
      precondition(owner.open.remove(id(stream)) != nil, "a stream closes once")
      owner.session.countEnd(isPremature: byPeer)
    },
    goingAway: { _, _, _ in },
    settings: { _ in },
    pong: { _ in },
    available: { raw, stream, most, end in
      let left = owner(raw).bodies[id(stream)] ?? 0
      let n = min(left, most)
      if n == left { end.pointee = HTTP2BodyEnd.stream.rawValue }
      return n
    },
    write: { raw, _, length in
      owner(raw).sent += length
      return true
    },
    writeBody: { raw, stream, _, length in
      let owner = owner(raw)
      let left = owner.bodies[id(stream)] ?? 0
      precondition(length <= left, "no more than there is")
      owner.bodies[id(stream)] = left - length
      owner.sent += length
      return HTTP2BodyWrite.sent.rawValue
    }))

/// Reads one input. Crashes when the session breaks a promise.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
  guard let data, size > 1 else { return 0 }
  let seed = Int(data[0])
  let before = memory.value.liveBytes
  run(Bytes(base: data + 1, count: size - 1), isClient: seed & 1 == 1, step: seed >> 1)
  precondition(memory.value.liveBytes == before, "every piece of memory comes back")
  return 0
}

private func run(_ input: Bytes, isClient: Bool, step: Int) {
  let peer = Owner()
  peer.isClient = isClient
  var options = HTTP2Options()
  options.role = isClient ? .client : .server
  options.streamWindow = 65_535
  options.connectionWindow = 65_535
  options.staysOpenAfterError = true
  options.allowsConnect = true
  let raw = Unmanaged.passUnretained(peer).toOpaque()
  precondition(
    peer.session.open(options, memory: memory, events: events, owner: raw), "memory for a session")
  defer { peer.session.close() }
  if isClient {
    ask(peer)
  } else {
    guard feed(peer, Bytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")) else { return }
  }
  var position = 0
  while position < input.count {
    let end = step == 0 ? input.count : min(position + step, input.count)
    guard feed(peer, input[position, end]) else { return }
    position = end
  }
}

/// Two requests, one with a body.
private func ask(_ peer: Owner) {
  var fields = HTTP2FieldList()
  for (name, value) in [
    (Bytes(":method"), Bytes("POST")), (Bytes(":scheme"), Bytes("http")),
    (Bytes(":path"), Bytes("/")), (Bytes(":authority"), Bytes("h")),
  ] { fields.add(name, value) }
  for stream in [Int32(1), 3] {
    peer.bodies[stream] = 20_000
    peer.open.insert(stream)
    let given = peer.session.submitRequest(fields, stream: context(stream), hasBody: stream == 3)
    precondition(given == stream, "ids in order")
  }
  _ = peer.session.send()
}

private func feed(_ peer: Owner, _ bytes: Bytes) -> Bool {
  let outcome = peer.session.receive(bytes, at: 1)
  let sent = peer.session.send()
  if case .over = outcome { return false }
  if case .over = sent { return false }
  return true
}
