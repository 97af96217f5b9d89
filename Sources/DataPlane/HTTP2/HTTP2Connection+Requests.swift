import Engine
import HTTPCodec
import HTTPModel
import Telemetry

// The server's side: what clients ask.
extension Ref where Value == HTTP2Connection {
  private var downstream: Ref<DownstreamConnection>? {
    guard case .client(let downstream) = value.transport else { return nil }
    return downstream
  }

  /// A client opens a stream.
  func requestOpened(_ id: Int32) -> Ref<HTTP2Stream>? {
    guard let downstream else { return nil }
    let stream = addStream(id)
    let request = worker.value.streams.take()
    request.open(
      on: worker, manager: downstream.manager, downstream: downstream,
      snapshot: worker.holdSnapshot())
    request.value.client = .http2(stream)
    request.value.requestHead.open(from: &loop.state.value.blocks)
    stream.value.request = request
    downstream.sessionRequestBegan()
    return stream
  }

  /// A head or trailers are whole.
  func requestSectionEnded(_ stream: Ref<HTTP2Stream>, _ endStream: Bool) {
    guard let request = stream.value.request else { return }
    guard stream.value.hasHead else {
      stream.value.hasHead = true
      return makeReady(stream)
    }
    begin(stream)
    guard stream.value.request == request else { return }
    guard !stream.value.sectionTooLarge, !request.value.requestTrailers.overflowed else {
      return request.requestBroken()
    }
    count(stats.value.trailers)
    request.requestTrailersReceived()
  }

  private func makeReady(_ stream: Ref<HTTP2Stream>) {
    stream.value.isReady = true
    stream.value.nextReady = nil
    if let last = value.lastReady {
      last.value.nextReady = stream
    } else {
      value.firstReady = stream
    }
    value.lastReady = stream
  }

  /// The bytes at hand have been looked at: what they asked begins.
  func beginRequests() {
    while let stream = value.firstReady {
      value.firstReady = stream.value.nextReady
      if value.firstReady == nil { value.lastReady = nil }
      stream.value.nextReady = nil
      begin(stream)
    }
    worker.value.output.flush(on: loop)
  }

  /// Begins a request whose head is whole, once.
  func begin(_ stream: Ref<HTTP2Stream>) {
    guard stream.value.isReady else { return }
    stream.value.isReady = false
    guard let request = stream.value.request else { return }
    request.beginHTTP2(endStream: stream.value.peerEnded, isTooLarge: stream.value.sectionTooLarge)
  }

  /// A stream is gone.
  func requestClosed(_ stream: Ref<HTTP2Stream>, _ code: UInt32, byPeer: Bool) {
    let age = loop.now &- stream.value.openedAt
    let isPremature = byPeer && !stream.value.sentLast && age < 1_000_000_000
    let wasReady = stream.value.isReady
    stream.value.isReady = false
    let request = stream.value.request
    stream.value.request = nil
    removeReady(stream, wasReady)
    removeStream(stream)
    session.countEnd(isPremature: isPremature)
    downstream?.sessionRequestEnded()
    request?.clientReset(byPeer: byPeer, code: code)
  }

  /// It was to begin with the others that have come with the bytes at hand.
  private func removeReady(_ stream: Ref<HTTP2Stream>, _ wasReady: Bool) {
    guard wasReady else { return }
    var previous: Ref<HTTP2Stream>?
    var current = value.firstReady
    while let candidate = current {
      if candidate == stream {
        if let previous {
          previous.value.nextReady = stream.value.nextReady
        } else {
          value.firstReady = stream.value.nextReady
        }
        if value.lastReady == stream { value.lastReady = previous }
        stream.value.nextReady = nil
        return
      }
      previous = candidate
      current = candidate.value.nextReady
    }
  }
}
