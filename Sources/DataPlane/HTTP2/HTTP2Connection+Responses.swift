import Engine
import HTTPCodec
import HTTPModel
import Telemetry
import Upstream

// The client's side: what endpoints answer.
extension Ref where Value == HTTP2Connection {
  private var upstream: Ref<UpstreamConnection>? {
    guard case .endpoint(let upstream) = value.transport else { return nil }
    return upstream
  }

  /// A stream for a request; it is opened when the request's head is sent.
  func openStream(for request: Ref<RequestStream>) -> Ref<HTTP2Stream> {
    let stream = addStream(0)
    stream.value.request = request
    return stream
  }

  /// An interim response, the response's head, or trailers are whole.
  func responseSectionEnded(_ stream: Ref<HTTP2Stream>, _ endStream: Bool) {
    guard let request = stream.value.request else { return }
    guard !stream.value.sectionTooLarge, !request.value.responseHead.overflowed,
      !request.value.responseTrailers.overflowed
    else { return refuse(stream) }
    if stream.value.hasHead {
      responseEnded(stream)
      return request.responseTrailersReceived()
    }
    let status = stream.value.status
    if status < 200 { return interim(stream, request, status) }
    stream.value.hasHead = true
    if request.value.wantsUpgrade {
      return upgradeAnswered(stream, request, status, endStream)
    }
    if endStream { responseEnded(stream) }
    request.responseHeadReceived(status: status, endStream: endStream)
  }

  private func interim(_ stream: Ref<HTTP2Stream>, _ request: Ref<RequestStream>, _ status: Int) {
    stream.value.interims += 1
    // HTTP/2 does not know 101 (RFC 9113 §8.6).
    guard status != 101, stream.value.interims <= Limits.interimResponses else {
      return refuse(stream)
    }
    request.interimResponseReceived(status)
  }

  /// The endpoint has answered an extended CONNECT (RFC 8441 §5).
  private func upgradeAnswered(
    _ stream: Ref<HTTP2Stream>, _ request: Ref<RequestStream>, _ status: Int, _ endStream: Bool
  ) {
    guard status == 200, !endStream else {
      if request.upgradeDeclined(status: status) { return }
      if endStream { responseEnded(stream) }
      return request.responseHeadReceived(status: status, endStream: endStream)
    }
    let state = loop.state
    if let type = request.value.requestHead[.upgrade] {
      request.value.responseHead.set(.upgrade, type, from: &state.value.blocks)
    }
    request.value.responseHead.set(.connection, Bytes("upgrade"), from: &state.value.blocks)
    request.tunnelOpened()
    request.responseHeadReceived(status: 101, endStream: false)
  }

  /// The response is whole: the stream is no longer the request's.
  func responseEnded(_ stream: Ref<HTTP2Stream>) {
    guard let request = stream.value.request else { return }
    stream.unpauseSource()
    stream.detach()
    if !stream.value.outputEnded {
      // What is left of the request is not wanted any more (RFC 9113 §8.1).
      session.reset(stream.value.id, HTTP2Code.noError)
      wantsToSend()
    }
    request.upstreamFinished()
  }

  private func refuse(_ stream: Ref<HTTP2Stream>) {
    guard let request = stream.value.request else { return }
    upstream?.pool.countProtocolError()
    stream.unpauseSource()
    stream.detach()
    stream.resetStream(HTTP2Code.protocolError)
    request.value.responseHead.release(into: &loop.state.value.blocks)
    request.value.responseTrailers.release(into: &loop.state.value.blocks)
    request.upstreamBroke(.protocolError)
  }

  /// A stream is gone.
  func responseClosed(_ stream: Ref<HTTP2Stream>, _ code: UInt32, byPeer: Bool) {
    let request = stream.value.request
    if request != nil { stream.unpauseSource() }
    stream.value.request = nil
    removeStream(stream)
    upstream?.roomChangesLater()
    guard let request else { return }
    if !request.value.attempt.responseStarted {
      request.value.responseHead.release(into: &loop.state.value.blocks)
    }
    if code == HTTP2Code.refusedStream {
      request.upstreamBroke(.refused)
    } else if byPeer {
      request.upstreamBroke(.remoteReset)
    } else {
      request.upstreamBroke(.protocolError)
    }
  }
}

extension Ref where Value == HTTP2Stream {
  /// The client need not wait for this endpoint any more.
  func unpauseSource() {
    guard value.pausedSource, let request = value.request else { return }
    value.pausedSource = false
    if let cluster = request.value.attempt.cluster {
      connection.count(cluster.value.stats.value.drained)
    }
    request.value.client.resumeRequest(.byUpstream)
  }

  /// Sends a request's head. False when it cannot be sent.
  func sendRequest(of request: Ref<RequestStream>, endStream: Bool) -> Bool {
    let connection = self.connection
    let worker = connection.worker
    value.outputEnded = endStream
    worker.value.fields.removeAll()
    let isUpgrade = request.value.wantsUpgrade
    let method =
      isUpgrade ? Bytes("CONNECT") : request.value.requestHead[.method] ?? Bytes("GET")
    worker.value.fields.add(Bytes(":method"), method)
    worker.value.fields.add(
      Bytes(":scheme"), request.value.requestHead[.scheme] ?? Bytes("http"))
    worker.value.fields.add(Bytes(":path"), request.value.requestHead[.path] ?? Bytes("/"))
    if let authority = request.value.requestHead[.authority] {
      worker.value.fields.add(Bytes(":authority"), authority)
    }
    if isUpgrade, let type = request.value.requestHead[.upgrade] {
      worker.value.fields.add(Bytes(":protocol"), type)
    }
    worker.value.fields.add(fieldsOf: request.value.requestHead)
    let id = unsafe connection.session.submitRequest(
      worker.value.fields, stream: raw, hasBody: !endStream)
    guard let id else {
      value.request = nil
      connection.removeStream(self)
      return false
    }
    value.id = id
    connection.wantsToSend()
    return true
  }
}
