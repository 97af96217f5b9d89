import Testing

@testable import Resources

private let place =
  "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.http_filters[0]"
private let types = "type.googleapis.com/envoy.extensions.filters.http."

@Suite("Filters whose configuration comes by itself")
struct ConfigDiscoveryTests {
  private func mistakes(_ discovery: String) -> [String] {
    Sample(
      filters: "- {name: sent, config_discovery: {config_source: {ads: {}}, \(discovery)}}"
    ).mistakes.map { line in
      line.split(separator: ": ", maxSplits: 1).last.map(String.init) ?? line
    }
  }

  @Test("types that may come, and a default among them, are taken")
  func taken() {
    let fault = "'@type': \(types)fault.v3.HTTPFault"
    #expect(mistakes("type_urls: [\(Sample.buffer)]") == [])
    #expect(
      mistakes(
        "type_urls: [\(Sample.buffer), \(types)fault.v3.HTTPFault], default_config: {\(fault)}, "
          + "apply_default_config_without_warming: true") == [])
  }

  @Test(
    "what cannot come is refused by name",
    arguments: [
      ("type_urls: []", ".type_urls: expected at least 1 item, found 0"),
      (
        "type_urls: [\(types)router.v3.Router]",
        ".type_urls[0]: 'envoy.extensions.filters.http.router.v3.Router' does not belong here"
      ),
      (
        "type_urls: [type.googleapis.com/fairlead.filters.http.retry.v1.Retry]",
        ".type_urls[0]: 'fairlead.filters.http.retry.v1.Retry' does not belong here"
      ),
      (
        "type_urls: [\(types)bufer.v3.Buffer]",
        ".type_urls[0]: no such extension type 'envoy.extensions.filters.http.bufer.v3.Buffer'"
      ),
      (
        "type_urls: [\(types)lua.v3.Lua]",
        ".type_urls[0]: extension 'envoy.extensions.filters.http.lua.v3.Lua' is known to Envoy, "
          + "not supported by Fairlead"
      ),
      (
        "type_urls: [\(Sample.buffer)], default_config: {'@type': \(types)fault.v3.HTTPFault}",
        ".default_config: 'envoy.extensions.filters.http.fault.v3.HTTPFault' is not among type_urls"
      ),
      (
        "type_urls: [\(Sample.buffer)], apply_default_config_without_warming: true",
        ".apply_default_config_without_warming: there is no default_config to apply"
      ),
    ])
  func refused(discovery: String, reason: String) throws {
    let found = mistakes(discovery)
    #expect(found.count == 1)
    #expect(try #require(found.first).hasPrefix(place + ".config_discovery" + reason))
  }

  @Test("network and listener filters cannot come by themselves, nor can the last HTTP filter")
  func elsewhere() {
    let source = "{config_source: {ads: {}}, type_urls: [\(types)echo.v3.Echo]}"
    let listener =
      "- {name: b, address: {socket_address: {address: 127.0.0.1, port_value: 1}}, "
      + "filter_chains: [{filters: [{name: f, config_discovery: \(source)}]}]}"
    #expect(
      Sample(listeners: listener).mistakes.contains {
        $0.contains("config_discovery") && $0.contains("known to Envoy, not supported")
      })
    let last =
      "- {name: b, address: {socket_address: {address: 127.0.0.1, port_value: 1}}, "
      + "filter_chains: [{filters: [{name: m, typed_config: {'@type': \(Sample.manager), "
      + "stat_prefix: b, route_config: {name: b}, http_filters: "
      + "[{name: sent, config_discovery: {config_source: {ads: {}}, "
      + "type_urls: [\(Sample.buffer)]}}]}}]}]}"
    #expect(
      Sample(listeners: last).mistakes.contains {
        $0.hasSuffix("'sent' is the last HTTP filter; expected the router after it")
      })
  }

  @Test("a resolver is not configured by a filter")
  func resolver() {
    let filter = "{name: x, typed_config: {'@type': \(types)fault.v3.HTTPFault}}"
    #expect(
      Sample(top: "typed_dns_resolver_config: \(filter)").mistakes.contains {
        $0.hasSuffix(
          "typed_dns_resolver_config.typed_config: "
            + "expected 'envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig'")
      })
  }
}
