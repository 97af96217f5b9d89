import ResourceModel

@testable import Resources

/// Every line that a bootstrap given as `--config-yaml` is answered with.
func mistakes(_ yaml: String) -> [String] {
  BootstrapLoader.load(file: nil, yaml: yaml).diagnostics.rendered.map { line in
    // The name of the source is the same everywhere.
    line.hasPrefix("--config-yaml:") ? String(line.dropFirst("--config-yaml:".count)) : line
  }
}

/// A bootstrap that is right, with holes for what a test is about.
struct Sample {
  var top = ""
  var route = "{match: {prefix: /}, route: {cluster: one}}"
  var hosts = ""
  var filters = ""
  var manager = ""
  var cluster = ""
  var clusters = ""
  var listeners = ""

  var yaml: String {
    """
    \(top)
    static_resources:
      listeners:
      - name: main
        address: {socket_address: {address: 127.0.0.1, port_value: 8080}}
        filter_chains:
        - filters:
          - name: manager
            typed_config: &manager
              "@type": \(Self.manager)
              stat_prefix: in
              route_config:
                virtual_hosts:
                - name: all
                  domains: ["*"]
                  routes:
                  - \(route)
                \(hosts)
              \(manager)
              http_filters:
              \(filters)
              - name: router
                typed_config: {"@type": \(Self.router)}
      \(listeners)
      clusters:
      - name: one
        load_assignment:
          cluster_name: one
          endpoints: [{lb_endpoints: [{endpoint: {address: \(Self.address)}}]}]
        \(cluster)
      \(clusters)
    """
  }

  static let manager =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3"
    + ".HttpConnectionManager"
  static let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
  static let address = "{socket_address: {address: 127.0.0.1, port_value: 9000}}"
  static let buffer = "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer"

  var mistakes: [String] { ResourcesTests.mistakes(yaml) }
  var loaded: LoadedBootstrap { BootstrapLoader.load(file: nil, yaml: yaml) }
}
