import FilterSDK
import LocalRateLimit
import Testing

@Suite("Local rate limit filter")
struct LocalRateLimitFilterTests {
  private static let always: Document = ["default_value": .percent(100)]
  private static let bucket: Document = [
    "max_tokens": 2, "tokens_per_fill": 2, "fill_interval": .seconds(5),
  ]

  private func document(_ more: [String: Document] = [:], prefix: String = "p") -> Document {
    let base: [String: Document] = [
      "stat_prefix": .string(prefix), "token_bucket": Self.bucket, "filter_enabled": Self.always,
      "filter_enforced": Self.always,
    ]
    return .message(base.merging(more) { $1 })
  }

  @Test("the bucket's last token passes, the next request does not, and it fills evenly")
  func bucket() throws {
    let rig = try FilterRig(localRateLimitFilter, document())
    func ask(at milliseconds: UInt64) -> FakeStream {
      let stream = rig.stream()
      stream.now += milliseconds * 1_000_000
      _ = stream.requestHead()
      return stream
    }
    #expect(ask(at: 0).reply == nil)
    #expect(ask(at: 0).reply == nil)
    let refused = ask(at: 0)
    #expect(
      refused.reply == Reply(status: 429, body: "local_rate_limited", details: "local_rate_limited")
    )
    #expect(refused.has(.rateLimited))
    #expect(ask(at: 2499).reply?.status == 429)
    #expect(ask(at: 2500).reply == nil)
    #expect(ask(at: 2500).reply?.status == 429)
    // No more than it holds, however long it rests.
    #expect([1, 2, 3].map { _ in ask(at: 900_000).reply == nil } == [true, true, false])
    #expect(rig["p.http_local_rate_limit.enabled"] == 9)
    #expect(rig["p.http_local_rate_limit.ok"] == 5)
    #expect(rig["p.http_local_rate_limit.rate_limited"] == 4)
    #expect(rig["p.http_local_rate_limit.enforced"] == 4)
  }

  @Test("off unless enabled, and no refusal unless enforced")
  func enabling() throws {
    let off = try FilterRig(
      localRateLimitFilter, ["stat_prefix": "p", "token_bucket": Self.bucket])
    for _ in 1...3 {
      let stream = off.stream()
      #expect(stream.requestHead() == .continue)
      #expect(stream.hasLeft)
    }
    #expect(off["p.http_local_rate_limit.enabled"] == 0)

    let shadow = try FilterRig(
      localRateLimitFilter,
      [
        "stat_prefix": "p", "filter_enabled": Self.always,
        "token_bucket": ["max_tokens": 1, "fill_interval": .seconds(50)],
        "request_headers_to_add_when_not_enforced": [.option("x-over", "yes")],
      ])
    let within = shadow.stream()
    #expect(within.requestHead() == .continue)
    #expect(within.request("x-over") == nil)
    let over = shadow.stream()
    #expect(over.requestHead() == .continue)
    #expect(over.request("x-over") == "yes")
    #expect(shadow["p.http_local_rate_limit.rate_limited"] == 1)
    #expect(shadow["p.http_local_rate_limit.enforced"] == 0)
  }

  @Test("the runtime overrides how many are asked")
  func runtime() throws {
    let rig = try FilterRig(
      localRateLimitFilter,
      document(["filter_enabled": ["default_value": .percent(0), "runtime_key": "rl.on"]]))
    _ = rig.stream().requestHead()
    #expect(rig["p.http_local_rate_limit.enabled"] == 0)
    rig.runtime["rl.on"] = 50
    for random: UInt64 in [499_999, 500_000] {
      let stream = rig.stream()
      stream.randoms = [random]
      _ = stream.requestHead()
    }
    #expect(rig["p.http_local_rate_limit.enabled"] == 1)
  }

  @Test("responses say what is left, refused ones get their fields")
  func announcing() throws {
    let rig = try FilterRig(
      localRateLimitFilter,
      document([
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
        "response_headers_to_add": [.option("x-refused", "1")],
        "status": ["code": "ServiceUnavailable"], "rate_limited_as_resource_exhausted": true,
      ]))
    for (remaining, reset) in [("1", "0"), ("0", "3")] {
      let stream = rig.stream()
      _ = stream.requestHead()
      _ = stream.responseHead(200)
      #expect(stream.response("x-ratelimit-limit") == "2")
      #expect(stream.response("x-ratelimit-remaining") == remaining)
      #expect(stream.response("x-ratelimit-reset") == reset)
      #expect(stream.response("x-refused") == nil)
    }
    let refused = rig.stream()
    _ = refused.requestHead()
    #expect(refused.reply?.status == 503)
    #expect(refused.reply?.grpcStatus == 8)
    _ = refused.responseHead(503)
    #expect(refused.response("x-refused") == "1")
    #expect(refused.response("x-ratelimit-remaining") == "0")
  }

  @Test("a route has a bucket of its own")
  func route() throws {
    let rig = try FilterRig(
      localRateLimitFilter, ["stat_prefix": "chain"], route: document(prefix: "route"))
    for _ in 1...3 { _ = rig.stream().requestHead() }
    #expect(rig["route.http_local_rate_limit.ok"] == 2)
    #expect(rig["route.http_local_rate_limit.enforced"] == 1)
  }

  @Test("a bucket for each connection is shared by its streams, and by nobody else")
  func perConnection() throws {
    let rig = try FilterRig(
      localRateLimitFilter, document(["local_rate_limit_per_downstream_connection": true]))
    let connections = [FakeConnection(), FakeConnection()]
    func passes(on connection: FakeConnection?) -> Bool {
      let stream = rig.stream()
      stream.connection = connection
      return stream.requestHead() == .continue
    }
    #expect((1...3).map { _ in passes(on: connections[0]) } == [true, true, false])
    #expect((1...3).map { _ in passes(on: connections[1]) } == [true, true, false])
    // A request of the proxy's own has no connection, and draws from the process's.
    #expect((1...3).map { _ in passes(on: nil) } == [true, true, false])
  }

  @Test("success is no status for a refusal")
  func status() throws {
    let rig = try FilterRig(localRateLimitFilter, document(["status": ["code": "OK"]]))
    for _ in 1...2 { _ = rig.stream().requestHead() }
    let refused = rig.stream()
    _ = refused.requestHead()
    #expect(refused.reply?.status == 429)
  }

  @Test("impossible buckets are refused, on both sides of each bound")
  func refused() throws {
    func load(_ bucket: Document) throws {
      _ = try FilterRig(localRateLimitFilter, document(["token_bucket": bucket]))
    }
    try load(["max_tokens": 1, "fill_interval": .milliseconds(50)])
    for bucket: Document in [
      ["max_tokens": 1, "fill_interval": .milliseconds(49)],
      ["max_tokens": 0, "fill_interval": .milliseconds(50)],
      ["max_tokens": 1, "tokens_per_fill": 0, "fill_interval": .milliseconds(50)],
    ] {
      #expect(throws: FilterRig.Refused.self) { try load(bucket) }
    }
    #expect(throws: FilterRig.Refused.self) { try FilterRig(localRateLimitFilter) }
    #expect(throws: FilterRig.Refused.self) {
      try FilterRig(localRateLimitFilter, document(), route: ["stat_prefix": "no_bucket"])
    }
  }
}
