/// `pc route`.
package enum RouteTable {
  /// Names that are numbers by their value, then the others.
  package static func sorted(_ routes: [JSONValue]) -> [JSONValue] {
    routes.sorted { first, second in
      let (left, right) = (first["name"].text, second["name"].text)
      return switch (Int(left), Int(right)) {
      case (let left?, let right?): left < right
      case (.some, nil): true
      case (nil, .some): false
      case (nil, nil): left < right
      }
    }
  }

  package static func select(_ routes: [JSONValue], name: String?) -> [JSONValue] {
    routes.filter { name == nil || $0["name"].text == name }
  }

  /// - Parameter isVerbose: a row for every route; otherwise one for every configuration.
  package static func text(_ routes: [JSONValue], isVerbose: Bool) -> String {
    guard isVerbose else {
      var table = TextTable("NAME", "VIRTUAL HOSTS")
      for each in sorted(routes) {
        table.append(each["name"].text, String(each["virtual_hosts"].items.count))
      }
      return table.text
    }
    var table = TextTable("NAME", "VHOST NAME", "DOMAINS", "MATCH", "VIRTUAL SERVICE")
    for each in sorted(routes) {
      let name = each["name"].text
      let hosts = each["virtual_hosts"].items
      if hosts.isEmpty { table.append(name, "-", "*", "/*", "404") }
      for host in hosts {
        let domains = RouteText.domains(host["domains"].texts)
        let entries = host["routes"].items
        if entries.isEmpty { table.append(name, host["name"].text, domains, "/*", "404") }
        for entry in entries {
          table.append(
            name, host["name"].text, domains, RouteText.match(entry["match"]),
            IstioMetadata.origin(of: entry))
        }
      }
    }
    return table.text
  }
}
