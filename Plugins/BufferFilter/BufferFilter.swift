import FilterSDK

/// The table for `envoy.extensions.filters.http.buffer.v3.Buffer`.
public let bufferFilter = FilterTable(BufferFilter.self)

/// Holds a request back until it is whole, for upstreams that cannot bear half a request. One that
/// is larger than allowed is answered with 413 by the host.
///
/// Withstands an untrusted downstream, whose request it holds within its bound, and an untrusted
/// upstream, which it does not meet.
public struct BufferFilter: RouteConfigurable, RequestHeadFilter, RequestBodyFilter {
  /// The body callback will be lent the whole body.
  private var isBuffering = false

  public init(config: borrowing Config) {}

  public mutating func onRequestHead(
    _ head: borrowing RequestHeadView, config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict {
    guard !head.endsStream else { return .continue }
    var limit = config.maxRequestBytes
    switch context.routeConfig(of: Self.self)?.value {
    case .disabled: return .continue
    case .buffer(let override): limit = override.maxRequestBytes
    case nil: break
    }
    context.bufferLimit = limit
    isBuffering = true
    return .buffer
  }

  public mutating func onRequestBody(
    _ body: borrowing BodyView, config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict {
    // The length is known now; trailers would not fit behind a counted body.
    guard isBuffering, body.endsStream else { return .continue }
    let head = context.requestHead
    if head["content-length"] == nil { head.set("content-length", number: UInt64(body.count)) }
    return .continue
  }
}
