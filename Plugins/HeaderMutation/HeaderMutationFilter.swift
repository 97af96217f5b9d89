import FilterSDK

/// The table for `envoy.extensions.filters.http.header_mutation.v3.HeaderMutation`.
public let headerMutationFilter = FilterTable(HeaderMutationFilter.self)

/// Edits the heads of requests and responses: the chain's edits first, then those of the route and
/// its surroundings.
///
/// Withstands an untrusted downstream and an untrusted upstream: what they send is only ever a
/// value in an edit that the operator wrote.
public struct HeaderMutationFilter: RouteConfigurable, RequestHeadFilter, ResponseHeadFilter {
  public init(config: borrowing Config) {}

  public mutating func onRequestHead(
    _ head: borrowing RequestHeadView, config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict {
    if let edits = config.request { head.apply(edits) }
    forEachRouteConfig(config, context) { route in
      if let edits = route.value.request { head.apply(edits) }
    }
    return .continue
  }

  public mutating func onResponseHead(
    _ head: borrowing ResponseHeadView, config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict {
    if let edits = config.response { head.apply(edits) }
    forEachRouteConfig(config, context) { route in
      if let edits = route.value.response { head.apply(edits) }
    }
    return .continue
  }

  /// Every level in the configured order. The last edit wins: by default the least specific, as in
  /// Envoy.
  private func forEachRouteConfig(
    _ config: borrowing Config, _ context: borrowing StreamContext, _ body: (Lent<Config>) -> Void
  ) {
    guard config.mostSpecificWins else {
      return context.forEachRouteConfig(of: Self.self, body)
    }
    // There are few levels, so that walking to each from the first is cheaper than keeping them.
    var count = 0
    context.forEachRouteConfig(of: Self.self) { _ in count += 1 }
    while count > 0 {
      count -= 1
      var index = 0
      context.forEachRouteConfig(of: Self.self) { route in
        if index == count { body(route) }
        index += 1
      }
    }
  }
}
