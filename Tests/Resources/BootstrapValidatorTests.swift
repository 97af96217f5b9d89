import Testing

@testable import Resources

private let manager = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config"

@Suite("What no single field shows")
struct BootstrapValidatorTests {
  @Test("a cluster's name is given once")
  func clusterTwice() {
    #expect(
      Sample(clusters: "- {name: one}").mistakes == [
        "31:12: static_resources.clusters[1].name: there is already a cluster 'one' on line 26"
      ])
  }

  @Test("a listener's name and address are given once, port 0 as often as you like")
  func listenerTwice() {
    let chain = "filter_chains: [{filters: [{name: m, typed_config: *manager}]}]"
    let main = "{socket_address: {address: 127.0.0.1, port_value: 8080}}"
    #expect(
      Sample(listeners: "- {name: main, address: \(main), \(chain)}").mistakes == [
        "24:12: static_resources.listeners[1].name: there is already a listener 'main' on line 4",
        "24:27: static_resources.listeners[1].address: "
          + "there is already a listener at '127.0.0.1:8080' on line 5",
      ])
    let any = "{socket_address: {address: 127.0.0.1, port_value: 0}}"
    let two = "- {name: a, address: \(any), \(chain)}\n  - {name: b, address: \(any), \(chain)}"
    #expect(Sample(listeners: two).mistakes == [])
  }

  @Test("a domain leads to one virtual host, whatever its case")
  func domainTwice() {
    let path = "\(manager).route_config.virtual_hosts[1]"
    #expect(
      Sample(hosts: "- {name: more, domains: ['*', a, A]}").mistakes == [
        "18:38: \(path).domains[0]: there is already a domain '*' on line 15",
        "18:46: \(path).domains[2]: there is already a domain 'a' on line 18",
      ])
  }

  @Test("a virtual host's name given twice is a warning, as Envoy takes it")
  func hostTwice() {
    let loaded = Sample(hosts: "- {name: all, domains: [a]}").loaded
    #expect(!loaded.diagnostics.hasErrors)
    #expect(loaded.diagnostics.rendered.count == 1)
  }

  @Test("per-route configuration for a filter that is not in the chain is a warning")
  func strayFilterConfig() {
    let config =
      "{'@type': type.googleapis.com/envoy.extensions.filters.http.buffer.v3."
      + "BufferPerRoute, disabled: true}"
    let loaded = Sample(
      route: "{match: {prefix: /}, route: {cluster: one}, "
        + "typed_per_filter_config: {rooter: \(config)}}"
    ).loaded
    #expect(!loaded.diagnostics.hasErrors)
    #expect(
      loaded.diagnostics.rendered.map { $0.split(separator: "]: ").last } == [
        "no HTTP filter has the name 'rooter', so this has no effect; did you mean 'router'?"
      ])
  }

  @Test("validate_clusters: false allows routes to clusters that come later")
  func unvalidatedClusters() {
    let route = "{match: {prefix: /}, route: {cluster: later}}"
    #expect(Sample(route: route, hosts: "validate_clusters: false").mistakes == [])
    #expect(Sample(route: route, hosts: "validate_clusters: true").mistakes.count == 1)
  }

  @Test("STATIC clusters have IP addresses, DNS clusters may have names")
  func staticAddress() {
    let name =
      "{name: b, type: TYPE, load_assignment: {cluster_name: b, endpoints: [{lb_endpoints:"
      + " [{endpoint: {address: {socket_address: {address: db.local, port_value: 1}}}}]}]}}"
    let fixed = Sample(clusters: "- " + name.replacing("TYPE", with: "STATIC")).mistakes
    #expect(fixed.count == 1)
    #expect(
      fixed.first?.hasSuffix(
        "expected an IP address, found \"db.local\"; "
          + "a host name needs the cluster type STRICT_DNS or LOGICAL_DNS") == true)
    for type in ["STRICT_DNS", "LOGICAL_DNS"] {
      #expect(Sample(clusters: "- " + name.replacing("TYPE", with: type)).mistakes == [])
    }
  }

  @Test("a LOGICAL_DNS cluster has exactly one endpoint")
  func logicalEndpoints() {
    #expect(
      Sample(clusters: "- {name: b, type: LOGICAL_DNS}").mistakes == [
        "31:5: static_resources.clusters[1].load_assignment: "
          + "a LOGICAL_DNS cluster has exactly one endpoint"
      ])
  }

  @Test("a listener needs an address and one chain that ends in a connection manager")
  func listenerParts() {
    #expect(
      Sample(listeners: "- {name: b}").mistakes == [
        "24:5: static_resources.listeners[1].address: missing",
        "24:5: static_resources.listeners[1].filter_chains: missing; expected a filter chain",
      ])
    let address = "{socket_address: {address: 127.0.0.1, port_value: 1}}"
    #expect(
      Sample(listeners: "- {name: b, address: \(address), filter_chains: [{}]}").mistakes == [
        "24:95: static_resources.listeners[1].filter_chains[0].filters: "
          + "missing; expected an HTTP connection manager"
      ])
    #expect(
      Sample(
        listeners: "- {name: b, address: \(address), filter_chains: [{filter_chain_match: "
          + "{address_suffix: x}, filters: [{name: m, typed_config: *manager}]}]}"
      ).mistakes.map { $0.split(separator: "match.").last } == [
        "address_suffix: known to Envoy, not supported by Fairlead"
      ])
  }

  @Test("what a filter chain matches has to be possible")
  func chainMatches() {
    func mistakes(_ match: String) -> [Substring?] {
      let address = "{socket_address: {address: 127.0.0.1, port_value: 1}}"
      return Sample(
        listeners: "- {name: b, address: \(address), filter_chains: [{filter_chain_match: "
          + "\(match), filters: [{name: m, typed_config: *manager}]}]}"
      ).mistakes.map { $0.split(separator: "match.").last }
    }
    #expect(mistakes("{server_names: [a.b, '*.b']}") == [])
    #expect(
      mistakes("{server_names: ['a*.b', '*.']}") == [
        "server_names[0]: expected a name, or '*.' and a name; \"a*.b\" is neither",
        "server_names[1]: expected a name, or '*.' and a name; \"*.\" is neither",
      ])
    #expect(mistakes("{prefix_ranges: [{address_prefix: 10.0.0.0, prefix_len: 32}]}") == [])
    #expect(
      mistakes("{source_prefix_ranges: [{address_prefix: 10.0.0.0, prefix_len: 33}]}") == [
        "source_prefix_ranges[0].prefix_len: expected at most 32, found 33"
      ])
    #expect(
      mistakes("{direct_source_prefix_ranges: [{address_prefix: x}]}") == [
        "direct_source_prefix_ranges[0].address_prefix: expected an IP address, found \"x\""
      ])
  }

  @Test("runtime layers have names of their own")
  func layers() {
    #expect(
      Sample(
        top: "layered_runtime: {layers: [{name: a, static_layer: {}}, {name: a, static_layer: {}}]}"
      ).mistakes == [
        "1:64: layered_runtime.layers[1].name: there is already a runtime layer 'a' on line 1"
      ])
  }
}
