/// An HTTP filter. A type that conforms is the state of one stream: the host lends its memory, calls
/// it on one thread, and never from within one of its own callbacks.
///
/// A filter says which callbacks it has by the protocols that it conforms to: `RequestHeadFilter`
/// and its siblings below. The host skips the others without a call.
///
/// State and configuration should be plain values: then a request costs no reference count. A state
/// that does hold references is released at the end of its stream.
public protocol HTTPFilter: FilterEntryPoints {
  /// What `load` makes of the configuration document. Its lists and texts come from the loader.
  associatedtype Config: BitwiseCopyable

  /// Checks a configuration. nil refuses it; say why at the node that is wrong.
  static func load(_ node: ConfigNode, _ loader: borrowing ConfigLoader) -> Config?

  /// The state at the beginning of a stream. Not called when the type has no stored properties.
  init(config: borrowing Config)
}

/// For filters with nothing to configure.
@frozen
public struct NoConfig: BitwiseCopyable {
  @inlinable public init() {}
}

extension HTTPFilter where Config == NoConfig {
  public static func load(_ node: ConfigNode, _ loader: borrowing ConfigLoader) -> NoConfig? {
    NoConfig()
  }
}

/// A filter that a route, a virtual host or a weighted cluster may configure
/// (`typed_per_filter_config`). Ask for it with `StreamContext.routeConfig`.
public protocol RouteConfigurable: HTTPFilter {
  associatedtype RouteConfig: BitwiseCopyable = Config

  /// Checks a route's configuration. nil refuses it; say why at the node that is wrong.
  static func loadRoute(_ node: ConfigNode, _ loader: borrowing ConfigLoader) -> RouteConfig?
}

extension RouteConfigurable where RouteConfig == Config {
  public static func loadRoute(_ node: ConfigNode, _ loader: borrowing ConfigLoader) -> Config? {
    load(node, loader)
  }
}

/// May answer `Verdict.replay`: the filters behind it form an attempt, which can be thrown away and
/// run again.
public protocol ReplayingFilter: ResponseHeadFilter {}

public protocol RequestHeadFilter: HTTPFilter {
  /// The request's head has come.
  mutating func onRequestHead(
    _ head: borrowing RequestHeadView, config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict
}

public protocol RequestBodyFilter: HTTPFilter {
  /// A piece of the request's body has come.
  mutating func onRequestBody(
    _ body: borrowing BodyView, config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict
}

public protocol RequestTrailersFilter: HTTPFilter {
  /// The request's trailers have come, and end it.
  mutating func onRequestTrailers(
    _ trailers: borrowing TrailersView, config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict
}

public protocol ResponseHeadFilter: HTTPFilter {
  /// The response's head has come.
  mutating func onResponseHead(
    _ head: borrowing ResponseHeadView, config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict
}

public protocol ResponseBodyFilter: HTTPFilter {
  /// A piece of the response's body has come.
  mutating func onResponseBody(
    _ body: borrowing BodyView, config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict
}

public protocol ResponseTrailersFilter: HTTPFilter {
  /// The response's trailers have come, and end it.
  mutating func onResponseTrailers(
    _ trailers: borrowing TrailersView, config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict
}

public protocol TimerFilter: HTTPFilter {
  /// A timer of this stream has run out; `tag` is what it was started with.
  mutating func onTimer(
    _ tag: UInt64, config: borrowing Config, _ context: borrowing StreamContext)
}

public protocol CallFilter: HTTPFilter {
  /// A call of this stream has ended.
  mutating func onCall(
    _ ticket: Ticket, _ result: borrowing CallResult, config: borrowing Config,
    _ context: borrowing StreamContext)
}

public protocol LogFilter: HTTPFilter {
  /// The response is over and about to be logged.
  mutating func onLog(config: borrowing Config, _ context: borrowing StreamContext)
}

public protocol EndFilter: HTTPFilter {
  /// The stream, or the attempt, is over, whatever became of it. Always last.
  mutating func onEnd(config: borrowing Config, _ context: borrowing StreamContext)
}
