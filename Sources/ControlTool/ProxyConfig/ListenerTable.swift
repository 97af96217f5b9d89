/// `pc listener`.
package enum ListenerTable {
  /// By port, then by address.
  package static func sorted(_ listeners: [JSONValue]) -> [JSONValue] {
    listeners.sorted { first, second in
      let left = AddressText.port(first["address"])
      let right = AddressText.port(second["address"])
      guard left == right else { return left < right }
      return (AddressText.host(first["address"]), first["name"].text)
        < (AddressText.host(second["address"]), second["name"].text)
    }
  }

  /// - Parameter isVerbose: a row for every filter chain; otherwise one for every listener.
  package static func text(_ listeners: [JSONValue], isVerbose: Bool) -> String {
    var table =
      isVerbose
      ? TextTable("ADDRESSES", "PORT", "MATCH", "DESTINATION")
      : TextTable("ADDRESSES", "PORT", "TYPE")
    for listener in sorted(listeners) {
      let addresses = ListenerText.addresses(of: listener).joined(separator: ",")
      let port = String(AddressText.port(listener["address"]))
      guard isVerbose else {
        table.append(addresses, port, ListenerText.type(of: listener))
        continue
      }
      let rows = FilterChain.all(of: listener).map {
        (match: ListenerText.match(of: $0), destination: ListenerText.destination(of: $0))
      }
      // istioctl's order: routes, then what passes through, then clusters.
      for row in rows.sorted(by: { $0.destination > $1.destination }) {
        table.append(addresses, port, row.match, row.destination)
      }
    }
    return table.text
  }
}
