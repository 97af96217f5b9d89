import CFilterABI
import FaultInjection
import FilterSDK
import Testing

@Suite("Fault injection filter")
struct FaultInjectionFilterTests {
  private let aborted = Reply(
    status: 503, body: "fault filter abort", details: "fault_filter_abort")

  private func abort(percent: Double = 100) -> Document {
    ["http_status": 503, "percentage": .percent(percent)]
  }

  private func rig(_ document: Document) throws -> FilterRig {
    try FilterRig(faultInjectionFilter, document)
  }

  @Test("a share of requests is aborted", arguments: [(299_999 as UInt64, true), (300_000, false)])
  func aborts(random: UInt64, isAborted: Bool) throws {
    let rig = try rig(["abort": abort(percent: 30)])
    let stream = rig.stream()
    stream.randoms = [random]
    #expect(stream.requestHead() == (isAborted ? .replied : .continue))
    #expect(stream.reply == (isAborted ? aborted : nil))
    #expect(stream.has(.faultInjected) == isAborted)
    #expect(rig["http.test.fault.aborts_injected"] == (isAborted ? 1 : 0))
    #expect(rig["http.test.fault.active_faults"] == (isAborted ? 1 : 0))
    stream.end()
    #expect(rig["http.test.fault.active_faults"] == 0)
  }

  @Test("without a fault to inject the filter leaves the stream")
  func inert() throws {
    let stream = try rig([:]).stream()
    #expect(stream.requestHead() == .continue)
    #expect(stream.hasLeft)
  }

  @Test("a gRPC status goes with a 200")
  func grpc() throws {
    let stream = try rig(["abort": ["grpc_status": 14, "percentage": .percent(100)]]).stream()
    _ = stream.requestHead()
    #expect(stream.reply?.status == 200)
    #expect(stream.reply?.grpcStatus == 14)
  }

  @Test("a delayed request goes on when its time has come")
  func delays() throws {
    let rig = try rig(["delay": ["fixed_delay": .milliseconds(50), "percentage": .percent(100)]])
    let stream = rig.stream()
    #expect(stream.requestHead() == .stop)
    #expect(stream.has(.delayInjected))
    stream.advance(milliseconds: 49)
    #expect(stream.requestResumptions == 0)
    stream.advance(milliseconds: 1)
    #expect(stream.requestResumptions == 1)
    #expect(rig["http.test.fault.delays_injected"] == 1)
  }

  @Test("an abort may follow a delay; the stream counts once")
  func delayThenAbort() throws {
    let rig = try rig([
      "delay": ["fixed_delay": .milliseconds(50), "percentage": .percent(100)], "abort": abort(),
    ])
    let stream = rig.stream()
    #expect(stream.requestHead() == .stop)
    stream.advance(milliseconds: 50)
    #expect(stream.reply == aborted)
    #expect(stream.requestResumptions == 0)
    #expect(rig["http.test.fault.active_faults"] == 1)
  }

  @Test(
    "fields of the request choose the fault",
    arguments: [
      ([("x-envoy-fault-abort-request", "451")], 451, -1),
      ([("x-envoy-fault-abort-request", "199")], nil, -1),
      ([("x-envoy-fault-abort-request", "600")], nil, -1),
      ([("x-envoy-fault-abort-grpc-request", "5")], 200, 5),
      ([], nil, -1),
    ] as [([(String, String)], UInt32?, Int32)])
  func headerAbort(fields: [(String, String)], status: UInt32?, grpcStatus: Int32) throws {
    let stream = try rig(["abort": ["header_abort": [:], "percentage": .percent(100)]]).stream()
    _ = stream.requestHead(fields)
    #expect(stream.reply?.status == status)
    #expect(stream.reply.map(\.grpcStatus) ?? -1 == grpcStatus)
  }

  @Test("a request may lower the share but not raise it")
  func headerPercentage() throws {
    let rig = try rig(["abort": ["header_abort": [:], "percentage": .percent(50)]])
    for (asked, random, isAborted) in [
      ("0", 0, false), ("10", 99_999, true), ("10", 100_000, false), ("90", 499_999, true),
      ("90", 500_000, false),
    ] as [(String, UInt64, Bool)] {
      let stream = rig.stream()
      stream.randoms = [random]
      _ = stream.requestHead([
        ("x-envoy-fault-abort-request", "500"), ("x-envoy-fault-abort-request-percentage", asked),
      ])
      #expect((stream.reply != nil) == isAborted)
    }
  }

  @Test("a request may choose its delay")
  func headerDelay() throws {
    let rig = try rig(["delay": ["header_delay": [:], "percentage": .percent(100)]])
    #expect(rig.stream().requestHead() == .continue)
    #expect(rig.stream().requestHead([("x-envoy-fault-delay-request", "0")]) == .continue)
    let stream = rig.stream()
    #expect(stream.requestHead([("x-envoy-fault-delay-request", "20")]) == .stop)
    stream.advance(milliseconds: 20)
    #expect(stream.requestResumptions == 1)
  }

  @Test("the runtime overrides share, status and duration")
  func runtime() throws {
    let rig = try rig([
      "abort": abort(percent: 0), "delay": ["fixed_delay": .seconds(1)],
      "abort_http_status_runtime": "my.status",
    ])
    #expect(rig.stream().requestHead() == .continue)
    rig.runtime = [
      "fault.http.abort.abort_percent": 100, "my.status": 418,
      "fault.http.delay.fixed_delay_percent": 100, "fault.http.delay.fixed_duration_ms": 5,
    ]
    let stream = rig.stream()
    #expect(stream.requestHead() == .stop)
    stream.advance(milliseconds: 5)
    #expect(stream.reply?.status == 418)
  }

  @Test("faults are for some clusters, nodes and requests only")
  func conditions() throws {
    let rig = try rig([
      "abort": abort(), "upstream_cluster": "up", "downstream_nodes": ["a", "b"],
      "headers": [.header("x-test", exact: "1")],
    ])
    for (cluster, node, test, isAborted) in [
      ("up", "b", "1", true), ("down", "b", "1", false), ("up", "c", "1", false),
      ("up", "b", "2", false),
    ] {
      let stream = rig.stream()
      stream.texts[FL_UPSTREAM_CLUSTER.rawValue] = cluster
      _ = stream.requestHead([("x-envoy-downstream-service-node", node), ("x-test", test)])
      #expect((stream.reply != nil) == isAborted)
    }
  }

  @Test("no more faults at a time than allowed")
  func overflow() throws {
    let rig = try rig([
      "delay": ["fixed_delay": .seconds(1), "percentage": .percent(100)], "max_active_faults": 1,
    ])
    let first = rig.stream()
    #expect(first.requestHead() == .stop)
    #expect(rig.stream().requestHead() == .continue)
    #expect(rig["http.test.fault.faults_overflow"] == 1)
    first.end()
    #expect(rig.stream().requestHead() == .stop)
  }

  @Test("a route's faults stand in the chain's place")
  func route() throws {
    let rig = try FilterRig(faultInjectionFilter, ["abort": abort()], route: [:])
    #expect(rig.stream().requestHead() == .continue)
    let other = try FilterRig(faultInjectionFilter, [:], route: ["abort": abort()])
    #expect(other.stream().requestHead() == .replied)
    #expect(other["http.test.fault.aborts_injected"] == 1)
  }

  @Test("a response is slowed down to its rate")
  func throttles() throws {
    let rig = try rig([
      "response_rate_limit": ["fixed_limit": ["limit_kbps": 1], "percentage": .percent(100)]
    ])
    let stream = rig.stream()
    #expect(stream.requestHead() == .continue)
    #expect(stream.responseHead(200, end: false) == .continue)
    // A slice of time is free: 51 bytes of 1,024 a second.
    #expect(stream.responseBody(String(repeating: "a", count: 51), end: false) == .continue)
    #expect(stream.responseBody(String(repeating: "a", count: 973), end: true) == .stop)
    stream.advance(milliseconds: 949)
    #expect(stream.responseResumptions == 0)
    stream.advance(milliseconds: 1)
    #expect(stream.responseResumptions == 1)
    #expect(rig["http.test.fault.response_rl_injected"] == 1)
  }

  @Test("impossible faults are refused, on both sides of each bound")
  func refused() throws {
    for status: Document in [200, 599] { _ = try rig(["abort": ["http_status": status]]) }
    for document: Document in [
      ["abort": ["http_status": 199]], ["abort": ["http_status": 600]], ["abort": [:]],
      ["delay": ["fixed_delay": .milliseconds(0)]], ["delay": [:]],
      ["response_rate_limit": ["fixed_limit": ["limit_kbps": 0]]], ["response_rate_limit": [:]],
      ["abort": ["http_status": 500, "percentage": .percent(101)]],
    ] {
      #expect(throws: FilterRig.Refused.self) { try rig(document) }
    }
  }
}
