/// A filter chain of a listener, and what its filters lead to.
package struct FilterChain {
  package let value: JSONValue

  /// The chains of a listener; the one for connections that fit no other comes last.
  package static func all(of listener: JSONValue) -> [FilterChain] {
    let last = listener["default_filter_chain"]
    return (listener["filter_chains"].items + (last.isNull ? [] : [last])).map(FilterChain.init)
  }

  package var match: JSONValue { value["filter_chain_match"] }

  package enum Kind { case http, tcp, other }

  /// The connection manager's or the TCP proxy's configuration, whichever comes first.
  package var last: (kind: Kind, config: JSONValue) {
    for filter in value["filters"].items {
      let config = filter["typed_config"]
      let type = config["@type"].text
      if type.hasSuffix(".HttpConnectionManager") { return (.http, config) }
      // What ends in the black hole serves nobody.
      if type.hasSuffix(".TcpProxy"), config["cluster"].text != "BlackHoleCluster" {
        return (.tcp, config)
      }
    }
    return (.other, .null)
  }

  /// Route configurations that stand in the chain itself.
  package var inlineRoutes: [JSONValue] {
    value["filters"].items.map { $0["typed_config"]["route_config"] }.filter { !$0.isNull }
  }
}
