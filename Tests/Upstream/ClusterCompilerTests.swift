import Engine
import Resources
import Testing

@testable import Upstream

@Suite("Compiling clusters")
struct ClusterCompilerTests {
  @Test("a cluster that says nothing gets Envoy's defaults")
  func defaults() {
    let compiled = CompiledClusters("- name: quiet")
    #expect(compiled.complaints.isEmpty)
    let cluster = compiled.first
    #expect(cluster.name.string == "quiet")
    #expect(cluster.discovery == .fixed)
    #expect(cluster.connectTimeout == 5000)
    #expect(cluster.connectionBufferLimit == 1024 * 1024)
    #expect(cluster.balancing.algorithm == .roundRobin)
    for limits in [cluster.defaultLimits, cluster.highLimits] {
      #expect(limits.connections == 1024)
      #expect(limits.pendingRequests == 1024)
      #expect(limits.requests == 1024)
      #expect(limits.retries == 3)
      #expect(limits.retryBudget == nil)
    }
    #expect(cluster.http.idleTimeout == 3_600_000)
    #expect(cluster.http.maxRequestsPerConnection == nil)
    #expect(cluster.http.maxResponseHeaders == 100)
    #expect(cluster.http.maxHTTP1HeadBytes == 80 * 1024)
    #expect(cluster.http.maxHTTP2HeadBytes == 60 * 1024)
    #expect(cluster.dns.lookup == .auto)
    #expect(cluster.dns.refreshRate == 5000)
    #expect(cluster.dns.failureBackoff == nil)
    #expect(cluster.firstFamilyCount == 1)
  }

  @Test("every field of a cluster arrives")
  func everything() {
    let compiled = CompiledClusters(
      """
      - name: full
        alt_stat_name: "a:b"
        type: STRICT_DNS
        connect_timeout: 0.25s
        per_connection_buffer_limit_bytes: 32768
        lb_policy: LEAST_REQUEST
        least_request_lb_config: { choice_count: 5, active_request_bias: { default_value: 0.5, runtime_key: k } }
        dns_refresh_rate: 2s
        dns_lookup_family: V4_PREFERRED
        respect_dns_ttl: true
        dns_failure_refresh_rate: { base_interval: 1s }
        typed_dns_resolver_config:
          name: envoy.network.dns_resolver.cares
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig
            resolvers: [ { socket_address: { address: 127.0.0.1, port_value: 5353 } } ]
            query_timeout_seconds: 1
            query_tries: 2
        circuit_breakers:
          thresholds:
          - { max_connections: 1, max_pending_requests: 2, max_requests: 3, max_retries: 4, track_remaining: true }
          - { priority: HIGH, retry_budget: { budget_percent: { value: 50 }, min_retry_concurrency: 7 } }
        upstream_connection_options:
          tcp_keepalive: { keepalive_time: 10 }
          happy_eyeballs_config: { first_address_family_version: V6, first_address_family_count: 2 }
        typed_extension_protocol_options:
          envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
            "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
            common_http_protocol_options:
              idle_timeout: 0s
              max_connection_duration: 60s
              max_stream_duration: 1.5s
              max_requests_per_connection: 10
              max_headers_count: 20
              max_response_headers_kb: 8
              headers_with_underscores_action: DROP_HEADER
            upstream_http_protocol_options: { auto_sni: true, override_auto_sni_header: X-Name }
            explicit_http_config: { http_protocol_options: { enable_trailers: true } }
        load_assignment:
          cluster_name: full
          endpoints:
          - locality: { region: r, zone: z, sub_zone: s }
            priority: 2
            lb_endpoints:
            - health_status: DEGRADED
              load_balancing_weight: 3
              endpoint:
                hostname: seen.example
                address: { socket_address: { address: asked.example, port_value: 8080 } }
      """)
    #expect(compiled.complaints.filter { !$0.contains("deprecated") } == [])
    let cluster = compiled.first
    #expect(cluster.statName.string == "a_b")
    #expect(cluster.discovery == .strictDNS)
    #expect(cluster.connectTimeout == 250)
    #expect(cluster.connectionBufferLimit == 32768)
    #expect(cluster.balancing.algorithm == .leastRequest)
    #expect(cluster.balancing.choiceCount == 5)
    #expect(cluster.balancing.activeRequestBias == 0.5)
    #expect(cluster.dns.refreshRate == 2000)
    #expect(cluster.dns.lookup == .v4Preferred)
    #expect(cluster.dns.respectsTTL)
    #expect(cluster.dns.failureBackoff?.base == 1000)
    #expect(cluster.dns.failureBackoff?.most == 10_000)
    #expect(cluster.dns.resolver.servers.array.map(\.description) == ["127.0.0.1:5353"])
    #expect(cluster.dns.resolver.queryTimeout == 1000)
    #expect(cluster.dns.resolver.tries == 2)
    #expect(cluster.defaultLimits.connections == 1)
    #expect(cluster.defaultLimits.pendingRequests == 2)
    #expect(cluster.defaultLimits.requests == 3)
    #expect(cluster.defaultLimits.retries == 4)
    #expect(cluster.defaultLimits.tracksRemaining)
    #expect(cluster.highLimits.retryBudget?.percent == 50)
    #expect(cluster.highLimits.retryBudget?.minimumConcurrency == 7)
    #expect(cluster.keepalive?.time == 10)
    #expect(cluster.keepalive?.probes == nil)
    #expect(cluster.firstFamily == .v6)
    #expect(cluster.firstFamilyCount == 2)
    #expect(cluster.http.idleTimeout == nil)
    #expect(cluster.http.maxConnectionDuration == 60_000)
    #expect(cluster.http.maxStreamDuration == 1500)
    #expect(cluster.http.maxRequestsPerConnection == 10)
    #expect(cluster.http.maxResponseHeaders == 20)
    #expect(cluster.http.maxHTTP1HeadBytes == 8192)
    #expect(cluster.http.maxHTTP2HeadBytes == 8192)
    #expect(cluster.http.headersWithUnderscores == .drop)
    #expect(cluster.http.names.asks && !cluster.http.names.verifies)
    #expect(cluster.http.names.field == "x-name")
    #expect(cluster.http.enableTrailers)
    let endpoint = cluster.endpoints[0].value
    #expect(endpoint.dnsName.string == "asked.example")
    #expect(endpoint.hostname.string == "seen.example")
    #expect(endpoint.port == 8080)
    #expect(endpoint.weight == 3)
    #expect(endpoint.priority == 2)
    #expect(endpoint.health == .degraded)
    #expect(endpoint.locality.value.subZone.string == "s")
  }

  @Test(
    "what is spoken is what the options name, or whom they leave it to",
    arguments: [
      ("explicit_http_config: { http_protocol_options: { enable_trailers: true } }", .http1),
      ("explicit_http_config: { http2_protocol_options: { max_concurrent_streams: 5 } }", .http2),
      (
        "auto_config: { http_protocol_options: { enable_trailers: true }, "
          + "http2_protocol_options: { max_concurrent_streams: 5 } }", .negotiated
      ),
      (
        "use_downstream_protocol_config: { http_protocol_options: { enable_trailers: true }, "
          + "http2_protocol_options: { max_concurrent_streams: 5 } }", .downstream
      ),
    ] as [(String, UpstreamProtocol)])
  func spoken(options: String, expected: UpstreamProtocol) {
    let compiled = CompiledClusters(
      """
      - name: c
        typed_extension_protocol_options:
          envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
            "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
            \(options)
      """)
    #expect(compiled.complaints.isEmpty)
    let http = compiled.first.http
    #expect(http.speaks == expected)
    #expect(http.enableTrailers == (expected != .http2))
    #expect(!http.speaks.mayBeHTTP2 || http.http2.maxConcurrentStreams == 5)
  }

  @Test("a STATIC endpoint may be an IPv4, IPv6 or Unix address, with more addresses to try")
  func addresses() {
    let compiled = CompiledClusters(
      """
      - name: c
        load_assignment:
          cluster_name: c
          endpoints:
          - lb_endpoints:
            - endpoint:
                address: { socket_address: { address: 10.0.0.1, port_value: 80 } }
                additional_addresses:
                - address: { socket_address: { address: "::1", port_value: 81 } }
            - endpoint: { address: { pipe: { path: /tmp/socket } } }
      """)
    #expect(compiled.complaints.isEmpty)
    let endpoints = compiled.first.endpoints.array.map {
      $0.value.addresses.array.map(\.description)
    }
    #expect(endpoints == [["10.0.0.1:80", "[::1]:81"], ["/tmp/socket"]])
  }

  @Test(
    "what does not fit together is named at its place",
    arguments: [
      (
        """
        - name: c
          load_assignment: { cluster_name: c, endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: example.com, port_value: 80 } } } } ] } ] }
        """, "did you mean type: STRICT_DNS?"
      ),
      (
        """
        - name: c
          type: LOGICAL_DNS
          load_assignment: { cluster_name: c }
        """, "exactly one endpoint, found 0"
      ),
      (
        """
        - name: c
          type: STRICT_DNS
          load_assignment: { cluster_name: c, endpoints: [ { lb_endpoints: [ { endpoint: { address: { pipe: { path: /a } } } } ] } ] }
        """, "goes with type: STATIC"
      ),
      (
        """
        - name: c
          least_request_lb_config: { choice_count: 2 }
        """, "goes with lb_policy LEAST_REQUEST only"
      ),
      (
        """
        - name: c
          circuit_breakers: { thresholds: [ { max_requests: 1 }, { max_requests: 2 } ] }
        """, "warning: "
      ),
      (
        """
        - name: c
          max_requests_per_connection: 1
          common_http_protocol_options: { max_requests_per_connection: 2 }
        """, "keep one"
      ),
      (
        """
        - name: c
          dns_failure_refresh_rate: { base_interval: 2s, max_interval: 1s }
        """, "is less than base_interval"
      ),
      (
        """
        - name: c
          load_assignment: { cluster_name: c, endpoints: [ { lb_endpoints: [
            { load_balancing_weight: 4294967295, endpoint: { address: { socket_address: { address: 10.0.0.1, port_value: 80 } } } },
            { endpoint: { address: { socket_address: { address: 10.0.0.2, port_value: 80 } } } } ] } ] }
        """, "the weights add up to more than 4294967295"
      ),
      (
        """
        - name: c
          load_assignment: { cluster_name: c, endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 10.0.0.1, port_value: 65536 } } } } ] } ] }
        """, "65535"
      ),
      (
        """
        - name: c
          load_assignment: { cluster_name: c, endpoints: [ { priority: 129 } ] }
        """, "expected at most 128, found 129"
      ),
      (
        """
        - name: c
          load_assignment: { cluster_name: c, endpoints: [ { lb_endpoints: [ { endpoint: {
            health_check_config: { hostname: "a\\r\\nx: y" },
            address: { socket_address: { address: 10.0.0.1, port_value: 80 } } } } ] } ] }
        """, "health_check_config.hostname: a blank or a control character has no place here"
      ),
    ])
  func complaints(yaml: String, expected: String) {
    let complaints = CompiledClusters(yaml).complaints
    #expect(complaints.contains { $0.contains(expected) }, "\(complaints)")
  }

  @Test("clusters are found by name, whatever their number", arguments: [0, 1, 4, 5, 300])
  func directory(count: Int) {
    let directory = ClusterDirectory(
      (0..<count).map { (.immortal("cluster-\($0)"), $0) })
    for index in 0..<count { #expect(directory.find("cluster-\(index)") == index) }
    #expect(directory.find("cluster-\(count)") == nil)
    #expect(directory.find("") == nil)
  }
}
