import Engine
import HTTPCodec
import HTTPModel
import Telemetry

// Requests that are none: Envoy's status, details and flag for each class, and an end to the
// connection, because nobody knows where the next request would begin.
extension Ref where Value == RequestStream {
  /// A head that cannot be read.
  func refuse(_ error: HTTP1Error) {
    countStarted()
    switch error {
    case .headTooLarge:
      refuse(431, "Request Header Fields Too Large", "http1.headers_too_large")
    case .tooManyFields:
      refuse(431, "Request Header Fields Too Large", "http1.too_many_headers")
    case .trailersTooLarge:
      refuse(431, "Request Header Fields Too Large", "http1.trailers_too_large")
    case .unsupportedTransferEncoding:
      refuse(501, "Not Implemented", "http1.invalid_transfer_encoding")
    case .version: _ = refuseVersion()
    case .target: refuse(400, "Bad Request", "http1.invalid_characters")
    case .contentLength where value.requestHead.contains(.transferEncoding):
      refuse(400, "Bad Request", "http1.content_length_and_chunked_not_allowed")
    default: refuse(400, "Bad Request", "http1.codec_error")
    }
  }

  /// The same in HTTP/2, whose stream alone ends with it.
  func refuseHTTP2(_ error: HTTP1Error) {
    value.request.ended = false
    let reply =
      error == .headTooLarge
      ? LocalReply(431, "Request Header Fields Too Large", "http2.too_many_headers")
      : LocalReply(400, "Bad Request", "http2.violation.of.messaging.rule")
    replyLocally(reply)
  }

  /// A head that can be read and must not be believed. Always false.
  func refuseSyntax(_ details: StaticString) -> Bool {
    if value.client.isHTTP2 { return refuseHTTP2Syntax(details) }
    refuse(400, "Bad Request", details)
    return false
  }

  /// Always false.
  func refuseHTTP2Syntax(_ details: StaticString = "http2.violation.of.messaging.rule") -> Bool {
    countProtocolError()
    value.request.ended = false
    replyLocally(LocalReply(400, "Bad Request", details, .downstreamProtocolError))
    return false
  }

  /// HTTP/1.0 where it is not allowed, or something later. Always false.
  func refuseVersion() -> Bool {
    value.minor = 1
    value.downstream?.value.closeReason = .codecError
    refuse(426, "Upgrade Required", "low_version")
    return false
  }

  private func refuse(_ status: Int, _ body: StaticString, _ details: StaticString) {
    countProtocolError()
    // To the log there was no request, and its end was never seen.
    value.requestHead.remove(anyOf: .method | .path | .authority | .host)
    value.request.ended = false
    replyLocally(
      LocalReply(status, body, details, .downstreamProtocolError, closes: true))
  }

  /// The body's framing broke: nothing after it can be trusted.
  func requestBroken() {
    guard !value.isOver else { return }
    countProtocolError()
    value.flags.insert(.downstreamProtocolError)
    value.closesConnection = true
    replyLocally(
      LocalReply(
        400, "Bad Request",
        value.client.isHTTP2 ? "http2.violation.of.messaging.rule" : "http1.codec_error",
        closes: true))
  }

  func headTimedOut() {
    countStarted()
    countHeadTimeout()
    replyLocally(.headTimeout)
  }
}
