import Testing

@testable import Telemetry

/// The expected texts were printed by Envoy 1.40 for the same names and values.
@Suite("Statistics export")
struct StatsExportTests {
  private func makeStore() -> StatsStore {
    let store = StatsStore()
    let stats = store.main
    stats.add(store.counter("http.ingress_http.downstream_rq_2xx"), 6)
    _ = store.counter("cluster.c.upstream_rq_timeout")
    stats.gaugeSet(store.gauge("server.live"), 1)
    let histogram = store.histogram("http.ingress_http.downstream_cx_length_ms")
    for value: UInt64 in [0, 1, 1, 1, 1, 7] { stats.record(histogram, value) }
    _ = store.histogram("cluster.c.upstream_cx_length_ms")
    store.latchIntervals()
    return store
  }

  @Test("text lists counters and gauges by name, then histograms with their quantiles")
  func text() {
    #expect(
      makeStore().export(StatsQuery()) == """
        cluster.c.upstream_rq_timeout: 0
        http.ingress_http.downstream_rq_2xx: 6
        server.live: 1
        cluster.c.upstream_cx_length_ms: No recorded values
        http.ingress_http.downstream_cx_length_ms: P0(0,0) P25(1.02,1.02) P50(1.04,1.04) \
        P75(1.08,1.08) P90(7.05,7.05) P95(7.05,7.05) P99(7.05,7.05) P99.5(7.05,7.05) \
        P99.9(7.05,7.05) P100(7.05,7.05)

        """)
  }

  @Test("an interval without values has no quantiles")
  func emptyInterval() {
    let store = StatsStore()
    store.main.record(store.histogram("h"), 51)
    #expect(store.export(StatsQuery()).hasPrefix("h: P0(nan,51.5) P25(nan,51.5)"))
  }

  @Test("usedonly, type and filter leave out what they say")
  func selections() {
    let store = makeStore()
    var query = StatsQuery()
    query.usedOnly = true
    query.type = .counter
    #expect(store.export(query) == "http.ingress_http.downstream_rq_2xx: 6\n")
    query = StatsQuery()
    query.filter = { $0.hasPrefix("server.") }
    #expect(store.export(query) == "server.live: 1\n")
    query.filter = { _ in false }
    #expect(store.export(query) == "")
    query.format = .json
    #expect(store.export(query) == #"{"stats":[]}"#)
  }

  @Test("buckets show their bounds with the interval's and the total's counts")
  func buckets() {
    let store = makeStore()
    var query = StatsQuery()
    query.type = .histogram
    query.usedOnly = true
    query.histograms = .cumulative
    #expect(
      store.export(query) == """
        http.ingress_http.downstream_cx_length_ms: B0.5(1,1) B1(5,5) B5(5,5) B10(6,6) B25(6,6) \
        B50(6,6) B100(6,6) B250(6,6) B500(6,6) B1000(6,6) B2500(6,6) B5000(6,6) B10000(6,6) \
        B30000(6,6) B60000(6,6) B300000(6,6) B600000(6,6) B1.8e+06(6,6) B3.6e+06(6,6)

        """)
    query.histograms = .disjoint
    #expect(store.export(query).contains("B0.5(1,1) B1(4,4) B5(0,0) B10(1,1) B25(0,0)"))
    query.histograms = .detailed
    #expect(
      store.export(query).hasPrefix(
        """
        http.ingress_http.downstream_cx_length_ms:
          totals=0,0:1, 1,0.1:4, 7,0.1:1
          intervals=0,0:1, 1,0.1:4, 7,0.1:1
          summary=P0(0,0) P25(1.02,1.02)
        """))
  }

  @Test("JSON holds the same, with every histogram in one last element")
  func json() {
    let store = StatsStore()
    store.main.gaugeSet(store.gauge("server.live"), 1)
    store.main.add(store.counter(#"quo"te\"#))
    store.setText("version", "1")
    store.main.record(store.histogram("h"), 51)
    var query = StatsQuery(format: .json)
    let pair = #"{"cumulative":51.5,"interval":null}"#
    let all = Array(repeating: pair, count: 10).joined(separator: ",")
    #expect(
      store.export(query) == #"{"stats":[{"name":"version","value":"1"},"#
        + #"{"name":"quo\"te\\","value":1},{"name":"server.live","value":1},{"histograms":{"#
        + #""supported_quantiles":[0,25,50,75,90,95,99,99.5,99.9,100],"computed_quantiles":["#
        + #"{"name":"h","values":["# + all + "]}]}}]}")
    query.type = .histogram
    query.histograms = .cumulative
    #expect(
      store.export(query).hasSuffix(
        #"{"upper_bound":3e+05,"interval":0,"cumulative":1},"#
          + #"{"upper_bound":6e+05,"interval":0,"cumulative":1},"#
          + #"{"upper_bound":1800000,"interval":0,"cumulative":1},"#
          + #"{"upper_bound":3600000,"interval":0,"cumulative":1}]}]}]}"#))
  }

  @Test("Prometheus gets families with labels, buckets, sum and count")
  func prometheus() {
    var options = StatsOptions()
    options.histogramBounds = [
      StatsOptions.HistogramBounds(matches: { $0.hasPrefix("http.") }, bounds: [0.5, 1, 3_600_000])
    ]
    let store = StatsStore(options: options)
    let stats = store.main
    for prefix in ["b", "a"] {
      stats.add(store.counter("http.\(prefix).downstream_rq_2xx"), 16)
      stats.add(store.counter("http.\(prefix).downstream_rq_5xx"), 1)
    }
    stats.gaugeSet(store.gauge("server.live"), 1)
    let histogram = store.histogram("http.a.downstream_rq_time")
    for value: UInt64 in [0, 1, 40] { stats.record(histogram, value) }
    #expect(
      store.export(StatsQuery(format: .prometheus)) == """
        # TYPE envoy_http_downstream_rq_xx counter
        envoy_http_downstream_rq_xx{envoy_response_code_class="2",envoy_http_conn_manager_prefix="a"} 16
        envoy_http_downstream_rq_xx{envoy_response_code_class="5",envoy_http_conn_manager_prefix="a"} 1
        envoy_http_downstream_rq_xx{envoy_response_code_class="2",envoy_http_conn_manager_prefix="b"} 16
        envoy_http_downstream_rq_xx{envoy_response_code_class="5",envoy_http_conn_manager_prefix="b"} 1
        # TYPE envoy_server_live gauge
        envoy_server_live{} 1
        # TYPE envoy_http_downstream_rq_time histogram
        envoy_http_downstream_rq_time_bucket{envoy_http_conn_manager_prefix="a",le="0.5"} 1
        envoy_http_downstream_rq_time_bucket{envoy_http_conn_manager_prefix="a",le="1"} 2
        envoy_http_downstream_rq_time_bucket{envoy_http_conn_manager_prefix="a",le="3600000"} 3
        envoy_http_downstream_rq_time_bucket{envoy_http_conn_manager_prefix="a",le="+Inf"} 3
        envoy_http_downstream_rq_time_sum{envoy_http_conn_manager_prefix="a"} 41
        envoy_http_downstream_rq_time_count{envoy_http_conn_manager_prefix="a"} 3

        """)
  }

  @Test("label values are escaped and texts become gauges of one")
  func prometheusTexts() {
    let store = StatsStore()
    store.setText("control_plane.identifier", "a\"b\\c\nd")
    var query = StatsQuery(format: .prometheus)
    query.showsTexts = true
    #expect(
      store.export(query) == """
        # TYPE envoy_control_plane_identifier gauge
        envoy_control_plane_identifier{text_value="a\\"b\\\\c\\nd"} 1

        """)
  }

  @Test("pieces stay near their size, and removal between two of them does no harm")
  func pieces() {
    for format in [StatsQuery.Format.text, .json, .prometheus] {
      let store = StatsStore()
      for index in 0..<12_000 { _ = store.counter("cluster.c\(index).upstream_rq_total") }
      var export = StatsExport(store, StatsQuery(format: format))
      var pieces = 0
      var output: [UInt8] = []
      while export.append(to: &output, about: 16_384) {
        #expect(output.count < 16_384 + 1024)
        if pieces == 3 { store.remove(prefix: "cluster.c2") }
        output.removeAll(keepingCapacity: true)
        pieces += 1
      }
      #expect(pieces > 4)
    }
  }

  @Test("numbers are printed in Envoy's forms")
  func numbers() {
    #expect(NumberText.shortest(3) == "3")
    #expect(NumberText.shortest(0.5) == "0.5")
    #expect(NumberText.json(60_000) == "60000")
    #expect(NumberText.json(300_000) == "3e+05")
    #expect(NumberText.general(1.02, digits: 32) == "1.0200000000000000177635683940025")
  }
}
