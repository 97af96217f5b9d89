import Engine
import HTTPCodec
import HTTPModel
import Telemetry

// What the session tells, to the side that it concerns.
extension Ref where Value == HTTP2Connection {
  nonisolated(unsafe) static let events = Ref<HTTP2Events>.immortal(
    unsafe HTTP2Events(
      opened: { unsafe Ref<HTTP2Connection>(raw: $0).requestOpened($1)?.raw },
      sectionBegan: { unsafe Ref<HTTP2Connection>(raw: $0).sectionBegan(stream($1)) },
      field: { owner, context, name, nameLength, value, valueLength in
        unsafe Ref<HTTP2Connection>(raw: owner).field(
          stream(context), Bytes(base: name, count: nameLength),
          Bytes(base: value, count: valueLength))
      },
      sectionEnded: { unsafe Ref<HTTP2Connection>(raw: $0).sectionEnded(stream($1), $2) },
      data: { unsafe stream($1).received(Bytes(base: $2, count: $3)) },
      dataEnded: { unsafe Ref<HTTP2Connection>(raw: $0).dataEnded(stream($1)) },
      sentLast: { unsafe stream($1).finishSending() },
      closed: { unsafe Ref<HTTP2Connection>(raw: $0).streamClosed(stream($1), $2, byPeer: $3) },
      goingAway: { owner, _, _ in unsafe Ref<HTTP2Connection>(raw: owner).peerGoes() },
      settings: { unsafe Ref<HTTP2Connection>(raw: $0).settingsChanged() },
      pong: { unsafe Ref<HTTP2Connection>(raw: $0).pong() },
      available: { _, context, most, end in
        var found = HTTP2BodyEnd.nothing
        let n = unsafe stream(context).available(most, &found)
        unsafe end.pointee = found.rawValue
        return n
      },
      write: { owner, data, length in
        let connection = unsafe Ref<HTTP2Connection>(raw: owner)
        guard !connection.isBlocked else { return false }
        connection.write(unsafe Bytes(base: data, count: length))
        return true
      },
      writeBody: { owner, context, head, length in
        guard unsafe !Ref<HTTP2Connection>(raw: owner).isBlocked else {
          return HTTP2BodyWrite.blocked.rawValue
        }
        return unsafe stream(context).write(head: Bytes(base: head, count: 9), length).rawValue
      }))

  // MARK: Header sections

  private func sectionBegan(_ stream: Ref<HTTP2Stream>) {
    stream.value.sectionBytes = 0
    stream.value.sectionFields = 0
    stream.value.sectionTooLarge = false
    guard let request = stream.value.request else { return }
    let state = loop.state
    if value.isServer {
      request.value.requestTrailers.open(from: &state.value.blocks)
    } else if stream.value.hasHead {
      request.value.responseTrailers.open(from: &state.value.blocks)
    } else {
      request.value.responseHead.open(from: &state.value.blocks)
    }
  }

  /// One field; nothing is kept of a section that is too large, or that nobody wants.
  private func field(_ stream: Ref<HTTP2Stream>, _ name: Bytes, _ text: Bytes) {
    guard let request = stream.value.request, !stream.value.sectionTooLarge else { return }
    let id = HeaderID.of(name)
    stream.value.sectionBytes &+= name.count &+ text.count
    // A cookie may come in pieces (RFC 9113 §8.2.3): they are one field.
    let isCrumb = id == .cookie && request.value.requestHead.contains(.cookie)
    if !isCrumb { stream.value.sectionFields &+= 1 }
    guard isWithinLimits(stream, request) else {
      stream.value.sectionTooLarge = true
      return count(stats.value.headerOverflow)
    }
    let state = loop.state
    if !value.isServer {
      if id == .status {
        stream.value.status = text.decimal ?? 0
      } else if stream.value.hasHead {
        request.value.responseTrailers.add(name, id: id, text, from: &state.value.blocks)
      } else {
        request.value.responseHead.add(name, id: id, text, from: &state.value.blocks)
      }
    } else if stream.value.hasHead {
      request.value.requestTrailers.add(name, id: id, text, from: &state.value.blocks)
    } else if id == .other, name == ":protocol" {
      // An extended CONNECT (RFC 8441) is HTTP/1's upgrade to everything behind here.
      request.value.requestHead.add(.upgrade, text, from: &state.value.blocks)
    } else {
      request.value.requestHead.add(name, id: id, text, from: &state.value.blocks)
    }
  }

  private func isWithinLimits(
    _ stream: Ref<HTTP2Stream>, _ request: Ref<RequestStream>
  ) -> Bool {
    let bytes: Int
    let fields: Int
    if value.isServer {
      bytes = request.manager.value.maxHeadBytes
      fields = request.manager.value.maxFields
    } else {
      guard let options = request.value.attempt.cluster?.value.config.value.http else {
        return false
      }
      bytes = options.maxHTTP2HeadBytes
      fields = options.maxResponseHeaders
    }
    let most = stream.value.hasHead ? min(bytes, Limits.trailerBytes) : bytes
    // Pseudo fields are no fields to who configures a number of them.
    let free = value.isServer && !stream.value.hasHead ? 4 : 0
    return stream.value.sectionBytes <= most && stream.value.sectionFields <= fields + free
  }

  private func sectionEnded(_ stream: Ref<HTTP2Stream>, _ endStream: Bool) {
    if endStream { stream.value.peerEnded = true }
    if value.isServer {
      requestSectionEnded(stream, endStream)
    } else {
      responseSectionEnded(stream, endStream)
    }
  }

  private func dataEnded(_ stream: Ref<HTTP2Stream>) {
    stream.value.peerEnded = true
    guard let request = stream.value.request else { return }
    if value.isServer {
      begin(stream)
      request.requestData(.empty, endStream: true)
    } else {
      responseEnded(stream)
      request.responseData(.empty, endStream: true)
    }
  }

  // MARK: The connection

  private func settingsChanged() {
    if case .endpoint(let upstream) = value.transport { upstream.roomChangesLater() }
  }

  private func peerGoes() {
    if case .endpoint(let upstream) = value.transport { upstream.peerGoesAway() }
  }

  private func streamClosed(_ stream: Ref<HTTP2Stream>, _ code: UInt32, byPeer: Bool) {
    if byPeer { count(stats.value.rxReset) }
    if value.isServer {
      requestClosed(stream, code, byPeer: byPeer)
    } else {
      responseClosed(stream, code, byPeer: byPeer)
    }
  }
}

private func stream(_ context: UnsafeMutableRawPointer) -> Ref<HTTP2Stream> {
  unsafe Ref<HTTP2Stream>(raw: context)
}

extension Ref where Value == HTTP2Stream {
  /// A piece of the peer's body.
  fileprivate func received(_ data: Bytes) {
    value.unconsumed &+= data.count
    if let request = value.request {
      if connection.value.isServer {
        connection.begin(self)
        request.requestData(data, endStream: false)
      } else {
        request.responseData(data, endStream: false)
      }
    }
    consume()
  }
}
