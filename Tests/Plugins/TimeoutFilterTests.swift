import CFilterABI
import FilterSDK
import Testing
import Timeout

@Suite("Timeout filter")
struct TimeoutFilterTests {
  /// A stream on a route with this timeout.
  private func stream(
    _ document: Document = [:], route: Document? = nil, routeMilliseconds: UInt64 = 15_000
  ) throws -> FakeStream {
    let stream = try FilterRig(timeoutFilter, document, route: route).stream()
    stream.timeouts.route_ms = routeMilliseconds
    return stream
  }

  @Test("the route's timeout ends a request in its last millisecond, not before")
  func routeTimeout() throws {
    let stream = try stream()
    #expect(stream.requestHead() == .continue)
    stream.advance(milliseconds: 14_999)
    #expect(stream.reply == nil)
    stream.advance(milliseconds: 1)
    #expect(
      stream.reply
        == Reply(status: 504, body: "upstream request timeout", details: "response_timeout"))
    #expect(stream.has(.upstreamTimeout))
    #expect(stream.count(.timeout) == 1)
  }

  @Test("no timeout, no timer and no field for the upstream")
  func disabled() throws {
    let stream = try stream(routeMilliseconds: 0)
    #expect(stream.requestHead() == .continue)
    #expect(stream.timers.isEmpty)
    #expect(stream.request("x-envoy-expected-rq-timeout-ms") == nil)
    #expect(stream.hasLeft)
  }

  @Test("an idle timeout alone keeps the filter on its stream")
  func idleAloneStays() throws {
    let stream = try stream(["idle_timeout": .milliseconds(1_000)], routeMilliseconds: 0)
    _ = stream.requestHead()
    #expect(!stream.hasLeft)
    #expect(stream.timers.count == 1)
  }

  @Test("the time runs from the end of the request", arguments: [true, false])
  func startsAtEnd(withTrailers: Bool) throws {
    let stream = try stream(routeMilliseconds: 100)
    #expect(stream.requestHead(end: false) == .continue)
    stream.advance(milliseconds: 1_000)
    #expect(stream.requestBody("a", end: false) == .continue)
    #expect(stream.timers.isEmpty)
    if withTrailers {
      #expect(stream.requestTrailers() == .continue)
    } else {
      #expect(stream.requestBody("b", end: true) == .continue)
    }
    stream.advance(milliseconds: 99)
    #expect(stream.reply == nil)
    stream.advance(milliseconds: 1)
    #expect(stream.reply?.status == 504)
  }

  @Test("a response that has begun is reset")
  func resetsStartedResponse() throws {
    let stream = try stream(routeMilliseconds: 100)
    _ = stream.requestHead()
    #expect(stream.responseHead(200, end: false) == .continue)
    stream.advance(milliseconds: 100)
    #expect(stream.reply == nil)
    #expect(stream.resetDetails == "response_timeout")
  }

  @Test("the caller's field overrides the route's timeout and goes no further")
  func requestHeader() throws {
    let stream = try stream()
    _ = stream.requestHead([("x-envoy-upstream-rq-timeout-ms", "20")])
    #expect(stream.request("x-envoy-upstream-rq-timeout-ms") == nil)
    #expect(stream.request("x-envoy-expected-rq-timeout-ms") == "20")
    stream.advance(milliseconds: 20)
    #expect(stream.reply?.status == 504)
  }

  @Test("a field that is no number is taken out and ignored")
  func badRequestHeader() throws {
    let stream = try stream(routeMilliseconds: 50)
    _ = stream.requestHead([("x-envoy-upstream-rq-timeout-ms", "soon")])
    #expect(stream.request("x-envoy-upstream-rq-timeout-ms") == nil)
    #expect(stream.request("x-envoy-expected-rq-timeout-ms") == "50")
  }

  @Test("the largest number there is waits for years, and stops nothing")
  func hugeRequestHeader() throws {
    let stream = try stream()
    #expect(
      stream.requestHead([("x-envoy-upstream-rq-timeout-ms", "18446744073709551615")]) == .continue)
    stream.advance(milliseconds: 1 << 30)
    #expect(stream.reply == nil)
  }

  @Test("the alternative reply is an empty 204")
  func alternativeReply() throws {
    let stream = try stream(routeMilliseconds: 50)
    _ = stream.requestHead([("x-envoy-upstream-rq-timeout-alt-response", "1")])
    #expect(stream.request("x-envoy-upstream-rq-timeout-alt-response") == nil)
    stream.advance(milliseconds: 50)
    #expect(stream.reply == Reply(status: 204, body: "", details: "response_timeout"))
  }

  @Test("an expected timeout is respected only where the router says so")
  func expectedTimeout() throws {
    let ignoring = try stream()
    _ = ignoring.requestHead([("x-envoy-expected-rq-timeout-ms", "10")])
    #expect(ignoring.request("x-envoy-expected-rq-timeout-ms") == "15000")

    let respecting = try stream()
    respecting.timeouts.respect_expected_timeout = true
    _ = respecting.requestHead([("x-envoy-expected-rq-timeout-ms", "10")])
    #expect(respecting.request("x-envoy-expected-rq-timeout-ms") == "10")
    respecting.advance(milliseconds: 10)
    #expect(respecting.reply?.status == 504)
  }

  @Test("no field for the upstream where the router suppresses them")
  func suppressed() throws {
    let stream = try stream()
    stream.timeouts.suppress_envoy_headers = true
    _ = stream.requestHead()
    #expect(stream.request("x-envoy-expected-rq-timeout-ms") == nil)
  }

  @Test("a configured timeout stands whatever route and caller say; a route's stands above it")
  func configured() throws {
    let chain = try stream(["timeout": .milliseconds(30)])
    _ = chain.requestHead([("x-envoy-upstream-rq-timeout-ms", "1")])
    #expect(chain.request("x-envoy-expected-rq-timeout-ms") == "30")

    let route = try stream(["timeout": .milliseconds(30)], route: ["timeout": .milliseconds(40)])
    _ = route.requestHead()
    #expect(route.request("x-envoy-expected-rq-timeout-ms") == "40")
  }

  @Test("ignored request headers are neither read nor removed")
  func ignoredHeaders() throws {
    let stream = try stream(["ignore_request_headers": true])
    _ = stream.requestHead([("x-envoy-upstream-rq-timeout-ms", "1")])
    #expect(stream.request("x-envoy-upstream-rq-timeout-ms") == "1")
    #expect(stream.request("x-envoy-expected-rq-timeout-ms") == "15000")
  }

  @Test(
    "silence ends a request with 408 before its end and 504 after it", arguments: [true, false])
  func idle(requestEnded: Bool) throws {
    let stream = try stream(["idle_timeout": .milliseconds(100)], routeMilliseconds: 0)
    _ = stream.requestHead(end: requestEnded)
    stream.advance(milliseconds: 99)
    #expect(stream.reply == nil)
    stream.advance(milliseconds: 1)
    #expect(
      stream.reply
        == Reply(
          status: requestEnded ? 504 : 408, body: "stream timeout", details: "stream_idle_timeout"))
    #expect(stream.has(.streamIdleTimeout))
  }

  @Test("what moves keeps a stream alive")
  func notIdle() throws {
    let stream = try stream(["idle_timeout": .milliseconds(100)], routeMilliseconds: 0)
    _ = stream.requestHead()
    _ = stream.responseHead(200, end: false)
    for _ in 1...5 {
      stream.advance(milliseconds: 90)
      stream.numbers[FL_RESPONSE_BODY_BYTES.rawValue, default: 0] += 1
    }
    #expect(stream.resetDetails == nil)
    stream.advance(milliseconds: 125)
    #expect(stream.resetDetails == "stream_idle_timeout")
  }
}
