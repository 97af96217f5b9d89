import FilterSDK

extension FaultInjectionFilter {
  /// `envoy.extensions.filters.http.fault.v3.HTTPFault`, for the chain or a route.
  public struct Config: BitwiseCopyable {
    var delay: Fault<Delay>?
    var abort: Fault<Abort>?
    var throttle: Fault<Throttle>?
    /// Empty: any.
    var upstreamCluster: ByteView
    /// Empty: any.
    var downstreamNodes: StaticList<ByteView>
    var headers: HeaderMatchers?
    var maxActive: UInt64?
    var maxActiveKey: RuntimeKey
    /// How many faults the process has running; the chain's counts for its routes too.
    var active: SharedNumber
    var statistics: Statistics

    /// The common case of a filter that waits for routes to configure it.
    var isInert: Bool { delay == nil && abort == nil && throttle == nil }
  }

  /// Something that is done to a share of requests.
  struct Fault<Kind: BitwiseCopyable>: BitwiseCopyable {
    var kind: Kind
    var share: Share
    /// One of what a field that lowers the share counts in, in millionths.
    var unit: UInt64
    var shareKey: RuntimeKey
    /// Another that overrides what is done, where there is one.
    var valueKey: RuntimeKey?
    /// And one for what is done in gRPC's terms.
    var grpcKey: RuntimeKey?
  }

  enum Delay: BitwiseCopyable {
    case fixed(milliseconds: UInt64)
    case header
  }

  enum Abort: BitwiseCopyable {
    case http(UInt32)
    case grpc(UInt32)
    case header
  }

  enum Throttle: BitwiseCopyable {
    /// In KiB a second.
    case fixed(UInt64)
    case header
  }

  struct Statistics: BitwiseCopyable {
    var aborts: Counter
    var delays: Counter
    var throttles: Counter
    var overflow: Counter
    var active: Gauge

    init(_ loader: borrowing ConfigLoader) {
      aborts = loader.counter("fault.aborts_injected", .connectionManager)
      delays = loader.counter("fault.delays_injected", .connectionManager)
      throttles = loader.counter("fault.response_rl_injected", .connectionManager)
      overflow = loader.counter("fault.faults_overflow", .connectionManager)
      active = loader.gauge("fault.active_faults", .connectionManager)
    }
  }

  public static func load(_ node: ConfigNode, _ loader: borrowing ConfigLoader) -> Config? {
    // Statistics for each downstream cluster are never kept: a peer names those, without a bound.
    Config(
      delay: loadDelay(node, loader), abort: loadAbort(node, loader),
      throttle: loadThrottle(node, loader),
      upstreamCluster: loader.text(node.string("upstream_cluster") ?? ""),
      downstreamNodes: loader.list(
        node.list("downstream_nodes").compactMap { $0.asString() }.map { loader.text($0) }),
      headers: loader.headerMatchers(node, "headers"),
      maxActive: node.unsigned("max_active_faults"),
      maxActiveKey: key(node, "max_active_faults_runtime", "fault.http.max_active_faults", loader),
      active: loader.sharedNumber(), statistics: Statistics(loader))
  }

  /// A runtime key, the configured or Envoy's, whose default is known where it is asked for.
  private static func key(
    _ node: ConfigNode, _ field: StaticString, _ fallback: String,
    _ loader: borrowing ConfigLoader
  ) -> RuntimeKey {
    let name = node.string(field) ?? ""
    return loader.runtime(name.isEmpty ? fallback : name, default: -1)
  }

  /// `percentage` of a fault, and what its numerator counts in.
  private static func share(_ fault: ConfigNode) -> (share: Share, unit: UInt64) {
    let unit: UInt64 =
      switch fault.message("percentage")?.enumeration("denominator") {
      case "TEN_THOUSAND": 100
      case "MILLION": 1
      default: 10_000
      }
    return (fault.share("percentage") ?? .none, unit)
  }

  private static func loadDelay(
    _ node: ConfigNode, _ loader: borrowing ConfigLoader
  ) -> Fault<Delay>? {
    guard let fault = node.message("delay") else { return nil }
    var kind = Delay.header
    if let milliseconds = fault.milliseconds("fixed_delay") {
      if milliseconds == 0 { fault.error("fixed_delay must be longer than 0") }
      kind = .fixed(milliseconds: milliseconds)
    } else if !fault.has("header_delay") {
      fault.error("expected fixed_delay or header_delay")
    }
    let (share, unit) = share(fault)
    return Fault(
      kind: kind, share: share, unit: unit,
      shareKey: key(
        node, "delay_percent_runtime", "fault.http.delay.fixed_delay_percent", loader),
      valueKey: key(
        node, "delay_duration_runtime", "fault.http.delay.fixed_duration_ms", loader))
  }

  private static func loadAbort(
    _ node: ConfigNode, _ loader: borrowing ConfigLoader
  ) -> Fault<Abort>? {
    guard let fault = node.message("abort") else { return nil }
    var kind = Abort.header
    if let status = fault.unsigned("http_status") {
      if !(200...599).contains(status) { fault.error("http_status must be from 200 to 599") }
      kind = .http(UInt32(clamping: status))
    } else if let status = fault.unsigned("grpc_status") {
      kind = .grpc(UInt32(clamping: status))
    } else if !fault.has("header_abort") {
      fault.error("expected http_status, grpc_status or header_abort")
    }
    let (share, unit) = share(fault)
    return Fault(
      kind: kind, share: share, unit: unit,
      shareKey: key(node, "abort_percent_runtime", "fault.http.abort.abort_percent", loader),
      valueKey: key(node, "abort_http_status_runtime", "fault.http.abort.http_status", loader),
      grpcKey: key(node, "abort_grpc_status_runtime", "fault.http.abort.grpc_status", loader))
  }

  private static func loadThrottle(
    _ node: ConfigNode, _ loader: borrowing ConfigLoader
  ) -> Fault<Throttle>? {
    guard let fault = node.message("response_rate_limit") else { return nil }
    var kind = Throttle.header
    if let limit = fault.message("fixed_limit") {
      let rate = limit.unsigned("limit_kbps") ?? 0
      if rate == 0 { limit.error("limit_kbps must be at least 1") }
      kind = .fixed(rate)
    } else if !fault.has("header_limit") {
      fault.error("expected fixed_limit or header_limit")
    }
    let (share, unit) = share(fault)
    return Fault(
      kind: kind, share: share, unit: unit,
      shareKey: key(
        node, "response_rate_limit_percent_runtime", "fault.http.rate_limit.response_percent",
        loader))
  }
}
