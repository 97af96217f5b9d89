import FilterSDK

extension BufferFilter {
  /// `envoy.extensions.filters.http.buffer.v3.Buffer`.
  public struct Config: BitwiseCopyable {
    var maxRequestBytes: UInt64
  }

  /// `envoy.extensions.filters.http.buffer.v3.BufferPerRoute`.
  public enum RouteConfig: BitwiseCopyable {
    case disabled
    case buffer(Config)
  }

  public static func load(_ node: ConfigNode, _ loader: borrowing ConfigLoader) -> Config? {
    guard let bytes = node.unsigned("max_request_bytes"), bytes > 0 else {
      node.error("max_request_bytes must be set, and at least 1")
      return nil
    }
    return Config(maxRequestBytes: bytes)
  }

  public static func loadRoute(
    _ node: ConfigNode, _ loader: borrowing ConfigLoader
  ) -> RouteConfig? {
    if let buffer = node.message("buffer") { return load(buffer, loader).map(RouteConfig.buffer) }
    guard node.bool("disabled") == true else {
      node.error("expected disabled: true, or buffer")
      return nil
    }
    return .disabled
  }
}
