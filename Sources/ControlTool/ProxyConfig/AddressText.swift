/// Addresses as tables show them.
package enum AddressText {
  /// The host of an `envoy.config.core.v3.Address`, or its path.
  package static func host(_ address: JSONValue) -> String {
    if !address["pipe"].isNull { return "unix://" + address["pipe"]["path"].text }
    let inside = address["envoy_internal_address"]
    if !inside.isNull { return "internal://" + inside["server_listener_name"].text }
    return address["socket_address"]["address"].text
  }

  /// 0 where there is none.
  package static func port(_ address: JSONValue) -> Int {
    address["socket_address"]["port_value"].integerValue ?? 0
  }

  package static func endpoint(_ address: JSONValue) -> String {
    let host = host(address)
    guard !address["socket_address"].isNull else { return host }
    return (host.contains(":") ? "[\(host)]" : host) + ":\(port(address))"
  }
}
