import Engine
import Resources
import Testing

@testable import Upstream

@Suite("Transport sockets by what endpoints say")
struct SocketMatchesTests {
  private func endpoint(_ labels: String) -> String {
    """
    {endpoint: {address: {socket_address: {address: 10.0.0.1, port_value: 1}}},
      metadata: {filter_metadata: {envoy.transport_socket_match: \(labels)}}}
    """
  }

  private func places(_ matches: [String], _ labels: [String]) -> [Int?] {
    let listed = matches.enumerated().map { "{name: m\($0), match: \($1)}" }
    let compiled = CompiledClusters(
      """
      - name: c
        transport_socket_matches: [\(listed.joined(separator: ", "))]
        load_assignment:
          cluster_name: c
          endpoints: [{lb_endpoints: [\(labels.map(endpoint).joined(separator: ", "))]}]
      """)
    #expect(compiled.complaints.isEmpty)
    let cluster = compiled.first
    return cluster.endpoints.array.map { cluster.match(of: $0) }
  }

  @Test("the first that asks for nothing else than an endpoint says is taken")
  func first() {
    #expect(
      places(
        ["{a: x, b: x}", "{a: x}", "{}"],
        ["{a: x}", "{a: x, b: x, c: x}", "{b: x}", "{}", "{a: X}"]) == [1, 0, 2, 2, 2])
    #expect(places(["{a: x}"], ["{b: x}"]) == [nil])
  }

  @Test("values are compared by kind and content")
  func values() {
    let said = ["\"1\"", "1", "true", "null", "[1, {z: 1, y: 2}]", "{z: 1, y: 2}"]
    for (index, value) in said.enumerated() {
      let found = places(["{a: \(value)}"], said.map { "{a: \($0)}" })
      #expect(found.indices.filter { found[$0] == 0 } == [index])
    }
    #expect(places(["{a: {y: 2, z: 1}}"], ["{a: {z: 1, y: 2}}"]) == [0])
  }

  @Test("what would have no effect is refused by name")
  func refused() {
    let compiled = CompiledClusters(
      """
      - name: c
        transport_socket_matches: [{name: m, match: {}}]
        health_checks: [{timeout: 1s, interval: 1s, healthy_threshold: 1, unhealthy_threshold: 1,
          tcp_health_check: {}}]
        load_assignment:
          cluster_name: c
          endpoints:
          - lb_endpoints:
            - endpoint: {address: {socket_address: {address: 10.0.0.1, port_value: 1}}}
              metadata: {filter_metadata: {envoy.lb: {a: b}}}
      """)
    #expect(compiled.complaints.count == 2)
    #expect(compiled.complaints.contains { $0.contains("envoy.lb") })
    #expect(compiled.complaints.contains { $0.contains("health_checks") })
  }
}
