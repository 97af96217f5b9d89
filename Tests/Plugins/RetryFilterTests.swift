import CFilterABI
import FilterSDK
import Retry
import Testing

@Suite("Retry filter")
struct RetryFilterTests {
  /// A stream on a route with this policy.
  private func stream(
    _ policy: Document? = nil, config: Document = [:], route: Document? = nil
  ) throws -> FakeStream {
    let stream = try FilterRig(retryFilter, config, route: route).stream()
    stream.retryPolicy = policy.map(FakeRetryPolicy.init)
    return stream
  }

  @Test("without a policy every response passes")
  func noPolicy() throws {
    let stream = try stream()
    #expect(stream.requestHead() == .continue)
    #expect(stream.responseHead(503) == .continue)
    #expect(stream.replayDelay == nil)
    #expect(stream.count(.retry) == 0)
    #expect(stream.hasLeft)
  }

  @Test(
    "who asks for something keeps the filter on its stream",
    arguments: [
      ("x-envoy-retry-on", "5xx"), ("x-envoy-retry-grpc-on", "internal"),
      ("x-envoy-upstream-rq-per-try-timeout-ms", "20"),
    ])
  func stays(name: String, value: String) throws {
    let stream = try stream()
    _ = stream.requestHead([(name, value)])
    #expect(!stream.hasLeft)
  }

  @Test("codes to retry on without a condition to do so keep nothing")
  func codesAlone() throws {
    let stream = try stream()
    _ = stream.requestHead([("x-envoy-retriable-status-codes", "418")])
    #expect(stream.hasLeft)
    #expect(stream.request("x-envoy-retriable-status-codes") == nil)
  }

  @Test(
    "statuses are repeated as retry_on says",
    arguments: [
      ("5xx", 499, false), ("5xx", 500, true), ("5xx", 599, true),
      ("gateway-error", 501, false), ("gateway-error", 502, true), ("gateway-error", 504, true),
      ("gateway-error", 505, false), ("retriable-4xx", 409, true), ("retriable-4xx", 404, false),
      ("retriable-status-codes", 418, true), ("retriable-status-codes", 500, false),
      ("reset", 503, false), ("connect-failure", 503, false),
    ])
  func statuses(retryOn: String, status: Int, repeats: Bool) throws {
    let stream = try stream(["retry_on": .string(retryOn), "retriable_status_codes": [418]])
    _ = stream.requestHead()
    #expect(stream.responseHead(status) == (repeats ? .replay : .continue))
    #expect(stream.count(.retry) == (repeats ? 1 : 0))
  }

  @Test(
    "failures are repeated as retry_on says",
    arguments: [
      ("5xx", FL_FAILURE_RESET, true), ("gateway-error", FL_FAILURE_CONNECT, true),
      ("reset", FL_FAILURE_PROTOCOL, true), ("reset", FL_FAILURE_PER_TRY_TIMEOUT, true),
      ("connect-failure", FL_FAILURE_CONNECT, true),
      ("connect-failure", FL_FAILURE_CONNECT_TIMEOUT, true),
      ("connect-failure", FL_FAILURE_RESET, false),
      ("refused-stream", FL_FAILURE_REFUSED_STREAM, true),
      ("refused-stream", FL_FAILURE_RESET, false),
      ("5xx", FL_FAILURE_OVERFLOW, false), ("reset", FL_FAILURE_NO_HEALTHY_HOST, false),
      ("retriable-4xx", FL_FAILURE_RESET, false),
    ])
  func failures(retryOn: String, failure: fl_failure, repeats: Bool) throws {
    let stream = try stream(["retry_on": .string(retryOn)])
    _ = stream.requestHead()
    stream.attempt.failure = failure.rawValue
    stream.attempt.local_reply = true
    stream.attempt.request_started = true
    #expect(stream.responseHead(503) == (repeats ? .replay : .continue))
  }

  @Test("reset-before-request looks at whether the request had begun", arguments: [true, false])
  func resetBeforeRequest(started: Bool) throws {
    let stream = try stream(["retry_on": "reset-before-request"])
    _ = stream.requestHead()
    stream.attempt.failure = FL_FAILURE_RESET.rawValue
    stream.attempt.request_started = started
    #expect(stream.responseHead(503) == (started ? .continue : .replay))
  }

  @Test(
    "gRPC statuses of the head are repeated as retry_on says",
    arguments: [
      ("cancelled", 1), ("deadline-exceeded", 4), ("resource-exhausted", 8), ("internal", 13),
      ("unavailable", 14),
    ])
  func grpc(retryOn: String, status: Int) throws {
    for other in [0, 1, 4, 8, 13, 14, 16] {
      let stream = try stream(["retry_on": .string(retryOn)])
      _ = stream.requestHead()
      let verdict = stream.responseHead(200, [("grpc-status", "\(other)")])
      #expect(verdict == (other == status ? .replay : .continue))
    }
  }

  @Test("a response of an overloaded Envoy is repeated only for who asks for that")
  func rateLimited() throws {
    let plain = try stream(["retry_on": "5xx"])
    _ = plain.requestHead()
    #expect(plain.responseHead(503, [("x-envoy-ratelimited", "true")]) == .continue)

    let asking = try stream(["retry_on": "envoy-ratelimited"])
    _ = asking.requestHead()
    #expect(asking.responseHead(429, [("x-envoy-ratelimited", "true")]) == .replay)
  }

  @Test("a field of the response may ask for another attempt, the policy's or the caller's")
  func retriableHeaders() throws {
    let policy = try stream([
      "retry_on": "retriable-headers",
      "retriable_headers": [.header("x-a", exact: "1"), .header(present: "x-b")],
    ])
    _ = policy.requestHead()
    #expect(policy.responseHead(200, [("x-b", "")]) == .replay)

    let caller = try stream()
    _ = caller.requestHead([
      ("x-envoy-retry-on", "retriable-headers"), ("x-envoy-retriable-header-names", "x-A, X-again"),
    ])
    #expect(caller.responseHead(200, [("x-again", "no")]) == .replay)
    #expect(caller.responseHead(200, [("x-never", "no")]) == .continue)
  }

  @Test("a request without the fields that the policy demands is not repeated")
  func retriableRequestHeaders() throws {
    let policy: Document = [
      "retry_on": "5xx", "retriable_request_headers": [.header(present: "x-idempotent")],
    ]
    let without = try stream(policy)
    _ = without.requestHead()
    #expect(without.responseHead(503) == .continue)

    let with = try stream(policy)
    _ = with.requestHead([("x-idempotent", "1")])
    #expect(with.responseHead(503) == .replay)
  }

  @Test("the last retry is spent: flag, counter, and the response passes")
  func limit() throws {
    let stream = try stream(["retry_on": "5xx", "num_retries": 2])
    _ = stream.requestHead()
    #expect(stream.responseHead(503) == .replay)
    #expect(stream.responseHead(503) == .replay)
    #expect(stream.responseHead(503) == .continue)
    #expect(stream.has(.retriesSpent))
    #expect(stream.count(.retry) == 2)
    #expect(stream.count(.retryLimitExceeded) == 1)
    #expect(stream.count(.retrySuccess) == 0)
  }

  @Test("a response that passes after a retry counts as success")
  func success() throws {
    let stream = try stream(["retry_on": "5xx"])
    _ = stream.requestHead()
    #expect(stream.responseHead(503) == .replay)
    #expect(stream.responseHead(200) == .continue)
    #expect(stream.count(.retrySuccess) == 1)
    #expect(!stream.has(.retriesSpent))
  }

  @Test("a cluster that admits no retry: counter, UO, and the response passes")
  func overflow() throws {
    let stream = try stream(["retry_on": "5xx"])
    stream.admitsRetries = false
    _ = stream.requestHead()
    #expect(stream.responseHead(503) == .continue)
    #expect(stream.count(.retryOverflow) == 1)
    #expect(stream.count(.retry) == 0)
    #expect(stream.has(.upstreamOverflow))
  }

  @Test("a body that was not kept is not sent again")
  func bodyLost() throws {
    let stream = try stream(["retry_on": "5xx"], config: ["request_buffer_limit_bytes": 10])
    _ = stream.requestHead(end: false)
    #expect(stream.retainedLimit == 10)
    _ = stream.requestBody("0123456789a", end: true)
    stream.attempt.body_retained = false
    #expect(stream.responseHead(503) == .continue)
    #expect(!stream.has(.retriesSpent))
  }

  @Test("the body is kept up to the stream's limit, and only if it may be needed")
  func bodyKept() throws {
    let wanted = try stream(["retry_on": "5xx"])
    _ = wanted.requestHead(end: false)
    #expect(wanted.retainedLimit == 1 << 20)

    let unwanted = try stream()
    _ = unwanted.requestHead(end: false)
    #expect(unwanted.retainedLimit == nil)
  }

  @Test("the caller's fields add to the policy and go no further")
  func requestHeaders() throws {
    let stream = try stream(["retry_on": "connect-failure"])
    let fields = [
      ("x-envoy-retry-on", "5xx, unknown"), ("x-envoy-retry-grpc-on", "internal"),
      ("x-envoy-max-retries", "3"), ("x-envoy-retriable-status-codes", "418"),
      ("x-envoy-retriable-header-names", "x-a"), ("x-envoy-upstream-rq-per-try-timeout-ms", "30"),
    ]
    _ = stream.requestHead(fields)
    for (name, _) in fields { #expect(stream.request(name) == nil) }
    #expect(stream.request("x-envoy-expected-rq-timeout-ms") == "30")
    for _ in 1...3 { #expect(stream.responseHead(500) == .replay) }
    #expect(stream.responseHead(500) == .continue)
  }

  @Test("ignored request headers are neither read nor removed")
  func ignoredHeaders() throws {
    let stream = try stream(config: ["ignore_request_headers": true])
    _ = stream.requestHead([("x-envoy-retry-on", "5xx")])
    #expect(stream.request("x-envoy-retry-on") == "5xx")
    #expect(stream.responseHead(503) == .continue)
  }

  @Test("a configured policy stands in the route's place")
  func configured() throws {
    let stream = try stream(
      ["retry_on": "connect-failure"], config: ["retry_policy": ["retry_on": "5xx"]])
    _ = stream.requestHead()
    #expect(stream.responseHead(503) == .replay)
  }

  @Test("an attempt's time fails it, and the policy decides what then")
  func perTryTimeout() throws {
    let stream = try stream(["retry_on": "5xx", "per_try_timeout": .milliseconds(50)])
    stream.randoms = [10]
    _ = stream.requestHead()
    stream.advance(milliseconds: 49)
    #expect(stream.failures.isEmpty)
    stream.advance(milliseconds: 1)
    #expect(stream.failures == [FL_FAILURE_PER_TRY_TIMEOUT.rawValue])
    #expect(stream.count(.perTryTimeout) == 1)
    stream.attempt.failure = FL_FAILURE_PER_TRY_TIMEOUT.rawValue
    #expect(stream.responseHead(504) == .replay)
    // The next attempt's time runs from its own beginning, after the back-off.
    #expect(stream.replayDelay == 10)
    stream.advance(milliseconds: 59)
    #expect(stream.failures.count == 1)
    stream.advance(milliseconds: 1)
    #expect(stream.failures.count == 2)
  }

  @Test("a response that has begun is not bound by the attempt's time")
  func perTryTimeoutAfterResponse() throws {
    let stream = try stream(["retry_on": "5xx", "per_try_timeout": .milliseconds(50)])
    _ = stream.requestHead()
    #expect(stream.responseHead(200, end: false) == .continue)
    stream.advance(milliseconds: 100)
    #expect(stream.failures.isEmpty)
  }

  @Test("silence fails an attempt, and resets a response that has begun")
  func perTryIdle() throws {
    let policy: Document = ["retry_on": "5xx", "per_try_idle_timeout": .milliseconds(40)]
    let waiting = try stream(policy)
    _ = waiting.requestHead()
    waiting.advance(milliseconds: 40)
    #expect(waiting.failures == [FL_FAILURE_PER_TRY_IDLE_TIMEOUT.rawValue])
    #expect(waiting.count(.perTryIdleTimeout) == 1)

    let started = try stream(policy)
    _ = started.requestHead()
    _ = started.responseHead(200, end: false)
    started.advance(milliseconds: 50)
    #expect(started.resetDetails == "upstream_per_try_idle_timeout")
  }

  @Test("the back-off grows with full jitter up to its bound")
  func backOff() throws {
    let stream = try stream(["retry_on": "5xx", "num_retries": 6])
    _ = stream.requestHead()
    for bound: UInt64 in [25, 75, 175, 250, 250, 250] {
      stream.randoms = [bound - 1]
      #expect(stream.responseHead(503) == .replay)
      #expect(stream.replayDelay == bound - 1)
    }
    #expect(stream.count(.retryBackoffExponential) == 6)
  }

  @Test("the upstream may say when to come back, within the policy's bound")
  func resetHeaders() throws {
    let policy: Document = [
      "retry_on": "5xx", "num_retries": 9,
      "reset_headers": [
        ["name": "retry-after"], ["name": "x-reset", "format": "UNIX_TIMESTAMP"],
      ],
    ]
    let stream = try stream(policy)
    _ = stream.requestHead()
    stream.randoms = [7]
    #expect(stream.responseHead(503, [("retry-after", "2")]) == .replay)
    #expect(stream.replayDelay == 2007)
    #expect(stream.count(.retryBackoffRateLimited) == 1)
    #expect(stream.responseHead(503, [("x-reset", "1700000300")]) == .replay)
    #expect(stream.replayDelay == 300_000)
    // Too late, past, or no number: the common back-off.
    for value in ["1700000301", "1700000000", "soon"] {
      #expect(stream.responseHead(503, [("x-reset", value)]) == .replay)
      #expect(stream.replayDelay == 0)
    }
    #expect(stream.count(.retryBackoffRateLimited) == 2)
  }

  @Test("later attempts avoid hosts that were tried")
  func previousHosts() throws {
    let stream = try stream(["retry_on": "5xx", "avoid_previous_hosts": 5])
    _ = stream.requestHead()
    #expect(stream.avoidedAttempts == nil)
    _ = stream.responseHead(503)
    #expect(stream.avoidedAttempts == 5)
  }
}
