import Engine
import HTTPModel

/// How a request's client is reached, whatever protocol it speaks: a handle with the operations that a
/// stream needs.
enum ClientLink: BitwiseCopyable {
  /// Nobody waits: a request of our own.
  case none
  case http1(Ref<DownstreamConnection>)
  case http2(Ref<HTTP2Stream>)

  var isHTTP2: Bool {
    if case .http2 = self { return true }
    return false
  }

  /// The stream cannot take more of the request for now.
  func pauseRequest(_ reason: RequestPauses = .byStream) {
    switch self {
    case .none: return
    case .http1(let downstream): downstream.pauseRequest(reason)
    case .http2(let stream): stream.pause(reason)
    }
  }

  /// Undoes `pauseRequest` for the same reason.
  func resumeRequest(_ reason: RequestPauses = .byStream) {
    switch self {
    case .none: return
    case .http1(let downstream): downstream.resumeRequest(reason)
    case .http2(let stream): stream.resume(reason)
    }
  }

  /// More waits for the client than it takes: the response's source should pause.
  var isAboveHighWatermark: Bool {
    switch self {
    case .none: false
    case .http1(let downstream): downstream.value.connection.isAboveHighWatermark
    case .http2(let stream): stream.isAboveHighWatermark
    }
  }

  /// The request has ended in good order.
  /// - Parameter mayContinue: an HTTP/1 connection can carry another one.
  func streamEnded(mayContinue: Bool) {
    switch self {
    case .none: return
    case .http1(let downstream): downstream.streamEnded(mayContinue: mayContinue)
    case .http2(let stream): stream.requestEnded()
    }
  }

  /// What was begun cannot be brought to an end: the client must not take what it has for the whole.
  func streamBroken() {
    switch self {
    case .none: return
    case .http1(let downstream): downstream.streamBroken()
    case .http2(let stream): stream.breakOff()
    }
  }

  /// The client left during its request; what can be given back of its connection is.
  func clientGone() {
    guard case .http1(let downstream) = self else { return }
    downstream.value.leftDuringRequest = true
    downstream.close()
  }
}

/// How the endpoint of an attempt is reached.
enum UpstreamLink: BitwiseCopyable, Equatable {
  /// No connection yet, or no more.
  case none
  case http1(Ref<UpstreamConnection>)
  case http2(Ref<HTTP2Stream>)

  /// More waits for the endpoint than it takes: the client should pause.
  func checkWatermark() {
    switch self {
    case .none: return
    case .http1(let upstream): upstream.checkWatermark()
    case .http2(let stream): stream.checkWatermark()
    }
  }

  /// The stream cannot take more of the response for now.
  func pauseResponse() {
    switch self {
    case .none: return
    case .http1(let upstream): upstream.connection.pauseReading()
    case .http2(let stream): stream.pause(.byStream)
    }
  }

  /// Undoes `pauseResponse`.
  func resumeResponse(on loop: EventLoop) {
    switch self {
    case .none: return
    case .http1(let upstream): upstream.connection.resumeReading(on: loop)
    case .http2(let stream): stream.resume(.byStream)
    }
  }

  /// The stream no longer wants its response.
  func abandon() {
    switch self {
    case .none: return
    case .http1(let upstream): upstream.abandon()
    case .http2(let stream): stream.abandon()
    }
  }
}
