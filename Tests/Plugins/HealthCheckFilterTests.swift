import CFilterABI
import FilterSDK
import HealthCheck
import Testing

@Suite("Health check filter")
struct HealthCheckFilterTests {
  private let path: Document = [.header(":path", exact: "/healthz")]

  private func stream(
    _ document: [String: Document]
  ) throws -> (FilterRig, FakeStream) {
    let rig = try FilterRig(
      healthCheckFilter, .message(document.merging(["headers": self.path]) { a, _ in a }))
    return (rig, rig.stream())
  }

  private func ask(_ stream: FakeStream, path: String = "/healthz") -> Verdict {
    stream.requestHead([], path: path)
  }

  @Test("a health check is answered here; other requests pass")
  func answers() throws {
    let (rig, stream) = try stream(["pass_through_mode": false])
    stream.texts[FL_NODE_CLUSTER.rawValue] = "edge"
    #expect(ask(stream) == .replied)
    #expect(stream.reply == Reply(status: 200, body: "", details: "health_check_ok"))
    #expect(stream.isMarkedHealthCheck)
    _ = stream.responseHead(200)
    #expect(stream.response("x-envoy-upstream-healthchecked-cluster") == "edge")
    #expect(rig["http.test.health_check.request_total"] == 1)
    #expect(rig["http.test.health_check.ok"] == 1)

    let other = rig.stream()
    #expect(ask(other, path: "/") == .continue)
    _ = other.responseHead(200)
    #expect(other.response("x-envoy-upstream-healthchecked-cluster") == nil)
    #expect(other.response("x-envoy-immediate-health-check-fail") == nil)
  }

  @Test("an operator fails them all, and other responses warn callers", arguments: [true, false])
  func failing(passThrough: Bool) throws {
    let (rig, stream) = try stream(["pass_through_mode": .bool(passThrough)])
    stream.numbers[FL_IS_FAILING_HEALTH_CHECKS.rawValue] = 1
    #expect(ask(stream) == .replied)
    #expect(
      stream.reply
        == Reply(
          status: 503, body: "", details: "health_check_failed",
          fields: ["x-envoy-immediate-health-check-fail": "true"]))
    #expect(stream.has(.failedHealthCheck))
    #expect(rig["http.test.health_check.failed"] == 1)

    let other = rig.stream()
    other.numbers[FL_IS_FAILING_HEALTH_CHECKS.rawValue] = 1
    #expect(ask(other, path: "/") == .continue)
    _ = other.responseHead(200)
    #expect(other.response("x-envoy-immediate-health-check-fail") == "true")
  }

  @Test(
    "clusters must be healthy enough",
    arguments: [
      (FakeStream.ClusterCounts(total: 4, healthy: 2), 200, "health_check_ok_cluster_healthy"),
      (.init(total: 4, healthy: 1, degraded: 1), 200, "health_check_ok_cluster_healthy"),
      (.init(total: 4, healthy: 1), 503, "health_check_failed_cluster_unhealthy"),
      (.init(total: 0, healthy: 0), 503, "health_check_failed_cluster_empty"),
      (nil, 503, "health_check_failed_no_cluster_found"),
    ] as [(FakeStream.ClusterCounts?, UInt32, String)])
  func clusters(counts: FakeStream.ClusterCounts?, status: UInt32, details: String) throws {
    let (_, stream) = try stream([
      "pass_through_mode": false,
      "cluster_min_healthy_percentages": .map([("up", ["value": 50])]),
    ])
    stream.clusters["up"] = counts
    #expect(ask(stream) == .replied)
    #expect(stream.reply == Reply(status: status, body: "", details: details))
    #expect(stream.has(.failedHealthCheck) == (status == 503))
  }

  @Test("the application's answer is kept for a while")
  func cache() throws {
    let (rig, first) = try stream([
      "pass_through_mode": true, "cache_time": .milliseconds(100),
    ])
    #expect(ask(first) == .continue)
    _ = first.responseHead(503, [("x-envoy-degraded", "")])

    let second = rig.stream()
    second.now = first.now + 99_000_000
    #expect(ask(second) == .replied)
    #expect(
      second.reply
        == Reply(
          status: 503, body: "", details: "health_check_cached", fields: ["x-envoy-degraded": ""]))
    _ = second.responseHead(503)
    #expect(rig["http.test.health_check.cached_response"] == 1)
    #expect(rig["http.test.health_check.degraded"] == 1)

    // An answer from the cache does not make it younger.
    let third = rig.stream()
    third.now = first.now + 100_000_000
    #expect(ask(third) == .continue)
  }

  @Test("options that contradict each other are refused")
  func refused() {
    for document: Document in [
      [:], ["pass_through_mode": false, "cache_time": .seconds(1)],
      [
        "pass_through_mode": true,
        "cluster_min_healthy_percentages": .map([("up", ["value": 50])]),
      ],
    ] {
      #expect(throws: FilterRig.Refused.self) { try FilterRig(healthCheckFilter, document) }
    }
  }
}
