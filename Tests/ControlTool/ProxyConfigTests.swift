import Testing

@testable import ControlTool

private let web = "gllue-web-1-svc.gllue-web.svc.cluster.local"

@Suite("Tables of proxy-config")
struct ProxyConfigTests {
  @Test(
    "listeners are shown with each chain's match and destination", arguments: ["envoy", "fairlead"])
  func listeners(proxy: String) throws {
    let dump = try StoredDump.dump(proxy)
    #expect(
      rows(ListenerTable.text(dump.listeners, isVerbose: true)) == [
        "ADDRESSES | PORT | MATCH | DESTINATION",
        "127.0.0.1 | 0 | ALL | Inline Route: probe/* /healthz/ready, /stats*, regex /v[0-9]+",
        "10.96.0.7 | 3306 | Addr: 10.96.0.0/16 | Cluster: outbound|3306||\(web)",
        "10.96.0.7 | 3306 | SNI: db.example.com; Trans: tls | Cluster: outbound|3306|v1|\(web)",
        "0.0.0.0 | 8090 | Trans: raw_buffer; App: HTTP | Route: 8090",
        "0.0.0.0 | 8090 | ALL | PassthroughCluster",
        "0.0.0.0 | 15001 | ALL | PassthroughCluster",
        "0.0.0.0 | 15001 | Addr: *:15001 | Non-HTTP/Non-TCP",
        "0.0.0.0 | 15006 | Addr: *:15006 | Non-HTTP/Non-TCP",
        "0.0.0.0 | 15006 | Trans: raw_buffer; App: HTTP | InboundPassthroughCluster",
        "0.0.0.0 | 15006 | ALL | InboundPassthroughCluster",
        "0.0.0.0 | 15006 | Trans: raw_buffer; Addr: *:8090 | Cluster: inbound|8090||",
      ])
    #expect(
      rows(ListenerTable.text(dump.listeners, isVerbose: false)) == [
        "ADDRESSES | PORT | TYPE", "127.0.0.1 | 0 | HTTP", "10.96.0.7 | 3306 | TCP",
        "0.0.0.0 | 8090 | HTTP+TCP", "0.0.0.0 | 15001 | TCP", "0.0.0.0 | 15006 | HTTP+TCP",
      ])
  }

  @Test("the deck's question for a pod's port is answered by the inbound listener's chain")
  func inboundChain() throws {
    let dump = try StoredDump.dump("envoy")
    let query = ListenerQuery(address: "172.20.3.57", port: 8090)
    let found = query.select(dump.listeners, own: dump.nodeAddresses)
    #expect(found.map { $0["name"].text } == ["virtualInbound"])
    #expect(found.first?["filter_chains"].items.map { $0["name"].text } == ["0.0.0.0_8090"])
    #expect(
      rows(ListenerTable.text(found, isVerbose: true)).dropFirst() == [
        "0.0.0.0 | 15006 | Trans: raw_buffer; Addr: *:8090 | Cluster: inbound|8090||"
      ])
  }

  @Test(
    "filters of listeners look at chains too",
    arguments: [
      (
        ListenerQuery(),
        ["virtualOutbound", "virtualInbound", "0.0.0.0_8090", "10.96.0.7_3306", "probe"]
      ),
      (ListenerQuery(port: 8090), ["virtualInbound", "0.0.0.0_8090"]),
      (ListenerQuery(address: "0.0.0.0", port: 8090), ["0.0.0.0_8090"]),
      (ListenerQuery(address: "172.20.3.99", port: 8090), []),
      (ListenerQuery(address: "172.20.3.57"), ["virtualInbound"]),
      (ListenerQuery(address: "10.96.0.7"), ["10.96.0.7_3306"]),
      (ListenerQuery(address: "10.96.3.4"), ["10.96.0.7_3306"]),
      (ListenerQuery(address: "10.97.3.4"), []),
      (ListenerQuery(port: 8090, type: "http"), ["virtualInbound"]),
      (ListenerQuery(port: 8090, type: "HTTP+TCP"), ["0.0.0.0_8090"]),
      (ListenerQuery(type: "tcp"), ["virtualOutbound", "10.96.0.7_3306"]),
      (ListenerQuery(port: 15001), ["virtualOutbound"]),
    ])
  func listenerFilters(query: ListenerQuery, names: [String]) throws {
    let dump = try StoredDump.dump("envoy")
    let found = query.select(dump.listeners, own: dump.nodeAddresses)
    #expect(Set(found.map { $0["name"].text }) == Set(names))
  }

  @Test(
    "lists of protocols have names",
    arguments: [
      (["http/1.1", "h2c"], "App: HTTP"), (["istio-peer-exchange", "istio"], "App: TCP TLS"),
      (["h2"], "App: h2"), (["a", "b"], "App: a,b"),
    ])
  func protocols(names: [String], text: String) {
    let match = JSONValue.object([
      JSONMember("application_protocols", .array(names.map { .string($0) }))
    ])
    let chain = FilterChain(value: .object([JSONMember("filter_chain_match", match)]))
    #expect(ListenerText.match(of: chain) == text)
  }

  @Test("routes within listeners are among the others", arguments: ["envoy", "fairlead"])
  func routes(proxy: String) throws {
    let routes = try StoredDump.dump(proxy).routes
    let host = "\(web):8090 | \(web), gllue-web-1-svc + 2 more..."
    #expect(
      rows(RouteTable.text(routes, isVerbose: true)) == [
        "NAME | VHOST NAME | DOMAINS | MATCH | VIRTUAL SERVICE",
        "8090 | \(host) | /v1* | gllue-web-1.gllue-web", "8090 | \(host) | PathPrefix:/get",
        "8090 | \(host) | /* | gllue-web-1.gllue-web", "8090 | allow_any | * | /*",
        "InboundPassthroughCluster | inbound|http|8090 | * | /*",
        "inbound|8090|| | inbound|http|8090 | * | /*", "probe | all | probe, * | /healthz/ready",
        "probe | all | probe, * | /stats*", "probe | all | probe, * | regex /v[0-9]+",
      ])
    #expect(
      rows(RouteTable.text(RouteTable.select(routes, name: "8090"), isVerbose: false)) == [
        "NAME | VIRTUAL HOSTS", "8090 | 2",
      ])
  }

  @Test("routes that are numbers come first, by their value; without a route it is a 404")
  func routeOrder() throws {
    let routes = try json(
      #"[{"name":"b"},{"name":"9080"},{"name":"80","virtual_hosts":[{"name":"h","domains":["h:80"]}]},"#
        + #"{"name":"a"}]"#
    ).items
    #expect(
      rows(RouteTable.text(routes, isVerbose: true)).dropFirst() == [
        "80 | h | h | /* | 404", "9080 | - | * | /* | 404", "a | - | * | /* | 404",
        "b | - | * | /* | 404",
      ])
  }

  @Test("clusters are taken apart by their names, and carry their destination rules")
  func clusters() throws {
    #expect(
      rows(ClusterTable.text(try StoredDump.dump("envoy").clusters)) == [
        "SERVICE FQDN | PORT | SUBSET | DIRECTION | TYPE | DESTINATION RULE",
        "\(web) | 8090 | - | inbound | ORIGINAL_DST",
        "BlackHoleCluster | - | - | - | STATIC",
        "InboundPassthroughCluster | - | - | - | ORIGINAL_DST",
        "PassthroughCluster | - | - | - | ORIGINAL_DST",
        "\(web) | 3306 | - | outbound | EDS",
        "\(web) | 8090 | - | outbound | EDS | gllue-web-1.gllue-web",
        "\(web) | 3306 | v1 | outbound | EDS",
        "\(web) | 8090 | v1 | outbound | EDS | gllue-web-1.gllue-web",
        "prometheus_stats | - | - | - | STATIC",
      ])
  }

  @Test(
    "a service's clusters are found by its name, the inbound one by its metadata",
    arguments: [
      (ClusterQuery(fqdn: web, port: 8090), 3), (ClusterQuery(fqdn: web, direction: "inbound"), 1),
      (ClusterQuery(fqdn: "gllue-web-1-svc.gllue-web", direction: "inbound"), 1),
      (ClusterQuery(fqdn: "gllue-web-1-svc"), 5), (ClusterQuery(fqdn: "other"), 0),
      (ClusterQuery(subset: "v1"), 2), (ClusterQuery(direction: "outbound"), 4),
      (ClusterQuery(), 9),
    ])
  func clusterFilters(query: ClusterQuery, count: Int) throws {
    #expect(try StoredDump.dump("envoy").clusters.filter(query.fits).count == count)
  }

  @Test("clusters named as Istio once named them are understood")
  func oldName() {
    let name = ClusterName("inbound|8090|http|\(web)")
    #expect(name.direction == "inbound" && name.port == 8090 && name.fqdn == web)
    #expect(ClusterName("xds-grpc").fqdn == "xds-grpc")
  }

  @Test(
    "endpoints are the same from a dump and from the list of clusters",
    arguments: ["envoy", "fairlead"])
  func endpoints(proxy: String) throws {
    let wanted = [
      "ENDPOINT | STATUS | OUTLIER CHECK | CLUSTER",
      "127.0.0.1:15000 | HEALTHY | OK | prometheus_stats",
      "172.20.3.57:8090 | HEALTHY | OK | outbound|8090|v1|\(web)",
      "172.20.3.57:8090 | HEALTHY | OK | outbound|8090||\(web)",
      "172.20.3.58:8090 | UNHEALTHY | OK | outbound|8090||\(web)",
      "172.20.3.60:3306 | HEALTHY | OK | outbound|3306||\(web)",
    ]
    let query = EndpointQuery()
    let live = EndpointSelection(statuses: try StoredDump.document("\(proxy)-clusters"), query)
    #expect(rows(EndpointTable.text(live.rows)) == wanted)
    let assignments = try #require(try StoredDump.dump(proxy).assignments)
    let dumped = EndpointSelection(assignments: assignments, query)
    #expect(rows(EndpointTable.text(dumped.rows)) == wanted)
  }

  @Test(
    "filters of endpoints",
    arguments: [
      (EndpointQuery(address: "172.20.3.57"), 2), (EndpointQuery(port: 3306), 1),
      (EndpointQuery(cluster: "outbound|8090||\(web)"), 2), (EndpointQuery(status: "unhealthy"), 1),
      (EndpointQuery(status: "healthy"), 4), (EndpointQuery(port: 1), 0),
    ])
  func endpointFilters(query: EndpointQuery, count: Int) throws {
    let document = try StoredDump.document("envoy-clusters")
    let found = EndpointSelection(statuses: document, query)
    #expect(found.rows.count == count)
    #expect(found.documents.flatMap { $0["host_statuses"].items }.count == count)
    let assignments = try #require(try StoredDump.dump("envoy").assignments)
    #expect(EndpointSelection(assignments: assignments, query).rows.count == count)
  }

  @Test("an endpoint that failed a check is unhealthy, one put aside by outlier detection says so")
  func health() throws {
    let document = try json(
      #"{"cluster_statuses":[{"name":"c","host_statuses":["#
        + #"{"address":{"socket_address":{"address":"::1","port_value":1}},"health_status":"#
        + #"{"failed_active_health_check":true,"eds_health_status":"HEALTHY"}},"#
        + #"{"address":{"pipe":{"path":"/a"}},"health_status":{"failed_outlier_check":true}}]}]}"#)
    let rowsOfTable = rows(
      EndpointTable.text(EndpointSelection(statuses: document, EndpointQuery()).rows))
    #expect(
      rowsOfTable.dropFirst() == [
        "[::1]:1 | UNHEALTHY | OK | c", "unix:///a | UNKNOWN | FAILED | c",
      ])
  }

  @Test("secrets tell whose they are, and until when they hold")
  func secrets() throws {
    let secrets = try StoredDump.dump("envoy").secrets
    let now = 1_795_700_000
    let times = "2126-11-02T12:26:59Z | 2026-11-26T12:26:59Z"
    #expect(
      rows(SecretTable.text(secrets, now: now, isVerbose: true)) == [
        "RESOURCE NAME | TYPE | STATUS | VALID CERT | SERIAL NUMBER | NOT AFTER | NOT BEFORE | TRUST DOMAIN",
        "default | Cert Chain | ACTIVE | true | 1a2b3c | \(times) | cluster.local",
        "ROOTCA | CA | ACTIVE | true | 1a2b3c | \(times) | cluster.local",
        "late | - | WARMING | - | - | - | - | -",
      ])
    #expect(
      rows(SecretTable.text(secrets, now: 1_600_000_000, isVerbose: false))[1]
        == "default | Cert Chain | ACTIVE | false | 1a2b3c | \(times)")
  }

  @Test("certificates of files are shown as /certs tells them")
  func certificates() throws {
    let document = try json(
      #"{"certificates":[{"ca_cert":[{"path":"/ca.pem","serial_number":"1","valid_from":"#
        + #""2026-01-01T00:00:00Z","expiration_time":"2027-01-01T00:00:00Z"}],"cert_chain":[]}]}"#)
    #expect(
      rows(SecretTable.text(certificates: document, now: 1_795_700_000)).dropFirst() == [
        "/ca.pem | CA | ACTIVE | true | 1 | 2027-01-01T00:00:00Z | 2026-01-01T00:00:00Z"
      ])
  }

  @Test("the bootstrap in short says who the proxy is")
  func bootstrap() throws {
    let info = try json(#"{"version":"1.40.0","state":"LIVE"}"#)
    let text = BootstrapSummary.text(try StoredDump.dump("envoy").bootstrap, serverInfo: info)
    #expect(text.contains("Node:               sidecar~172.20.3.57~gllue-web-8-7595b78979-8wmfc"))
    #expect(text.contains("Admin:              127.0.0.1:15000\n"))
    #expect(text.contains("Configuration from: /etc/sidecar/lds.json, /etc/sidecar/cds.json\n"))
  }

  @Test("what is no dump is told apart")
  func noDump() throws {
    let error = #expect(throws: ToolError.self) {
      try ConfigDump(try json("{}"), origin: "'x'")
    }
    #expect(error?.remedy?.contains("config_dump") == true)
  }

  @Test("a listener that the proxy refused is named with the reason")
  func refused() throws {
    let dump = try ConfigDump(
      try json(
        #"{"configs":[{"@type":"type.googleapis.com/envoy.admin.v3.ListenersConfigDump","#
          + #""dynamic_listeners":[{"name":"a","error_state":{"details":"no such filter"}}]}]}"#),
      origin: "x")
    #expect(dump.listeners.isEmpty)
    #expect(dump.refusedListeners.map(\.name) == ["a"])
    #expect(dump.refusedListeners.map(\.reason) == ["no such filter"])
  }
}
