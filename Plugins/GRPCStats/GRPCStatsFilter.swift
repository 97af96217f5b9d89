import FilterSDK

/// The table for `envoy.extensions.filters.http.grpc_stats.v3.FilterConfig`.
public let grpcStatsFilter = FilterTable(GRPCStatsFilter.self)

/// Counts gRPC calls at their cluster: statuses, successes and failures, messages in both
/// directions, and the upstream's time; for all methods together, or for each.
///
/// Withstands an untrusted downstream and an untrusted upstream: methods and statuses that they invent
/// take a bounded number of names. Where callers are not trusted, an allowlist keeps the names for
/// methods that exist.
public struct GRPCStatsFilter: RequestHeadFilter, RequestBodyFilter, ResponseHeadFilter,
  ResponseBodyFilter, ResponseTrailersFilter
{
  private var statistics = GRPCStatistics(protocol: "grpc")
  private var requests = MessageCounter()
  private var responses = MessageCounter()
  private var isGRPCResponse = false

  public init(config: borrowing Config) {}

  public mutating func onRequestHead(
    _ head: borrowing RequestHeadView, config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict {
    guard head.isGRPC, context.text(.upstreamCluster) != nil, let path = head[":path"],
      let method = GRPCMethod(path: path)
    else {
      context.leave(Self.self)
      return .continue
    }
    guard config.countsAlone(method) else { return .continue }
    if let own = GRPCStatistics(
      protocol: "grpc", method: method, replacingDots: config.replacesDots)
    {
      statistics = own
    } else {
      context.leave(Self.self)
    }
    return .continue
  }

  public mutating func onRequestBody(
    _ body: borrowing BodyView, config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict {
    let messages = requests.count(body.bytes)
    if messages > 0 { statistics.add(messages, "request_message_count", context) }
    return .continue
  }

  public mutating func onResponseHead(
    _ head: borrowing ResponseHeadView, config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict {
    isGRPCResponse = head.isGRPC
    statistics.charge(status: head["grpc-status"], context)
    if head.endsStream { recordTime(config, context) }
    return .continue
  }

  public mutating func onResponseBody(
    _ body: borrowing BodyView, config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict {
    guard isGRPCResponse else { return .continue }
    let messages = responses.count(body.bytes)
    if messages > 0 { statistics.add(messages, "response_message_count", context) }
    return .continue
  }

  public mutating func onResponseTrailers(
    _ trailers: borrowing TrailersView, config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict {
    statistics.charge(status: trailers["grpc-status"], context)
    recordTime(config, context)
    return .continue
  }

  private mutating func recordTime(_ config: borrowing Config, _ context: borrowing StreamContext) {
    guard config.timesUpstream, let time = context.upstreamNanoseconds else { return }
    statistics.record(time / 1_000_000, "upstream_rq_time", context)
  }
}
