import CLinux

/// Which listeners a person wants to see.
package struct ListenerQuery: Equatable {
  package var address: String?
  package var port: Int?
  package var type: String?

  package init(address: String? = nil, port: Int? = nil, type: String? = nil) {
    self.address = address
    self.port = port
    self.type = type
  }

  private var isEmpty: Bool { address == nil && port == nil && type == nil }

  /// The listeners that fit. Of one that takes connections for many addresses and ports, as
  /// `virtualInbound` does, what is left are the filter chains that fit.
  /// - Parameter own: addresses of the node, which is where inbound connections go.
  package func select(_ listeners: [JSONValue], own: [String]) -> [JSONValue] {
    listeners.compactMap { listener in
      if isEmpty || fits(listener) { return listener }
      return narrowed(listener, own: own)
    }
  }

  private func fits(_ listener: JSONValue) -> Bool {
    let addresses = ListenerText.addresses(of: listener)
    if let address, !addresses.contains(where: { $0.lowercased() == address.lowercased() }) {
      return false
    }
    if let port, AddressText.port(listener["address"]) != port { return false }
    return hasType(listener)
  }

  private func hasType(_ listener: JSONValue) -> Bool {
    guard let type else { return true }
    return ListenerText.type(of: listener).lowercased() == type.lowercased()
  }

  private func narrowed(_ listener: JSONValue, own: [String]) -> JSONValue? {
    // Who asks for 0.0.0.0 asks for what is bound there: no connection goes to it.
    guard port != nil || address != nil, !Self.isWildcard(address) else { return nil }
    let isInbound =
      listener["traffic_direction"].text == "INBOUND" || listener["name"].text == "virtualInbound"
    let chains = listener["filter_chains"].items.filter {
      fits(chain: FilterChain(value: $0).match, isInbound: isInbound, own: own)
    }
    guard !chains.isEmpty else { return nil }
    let kept = listener.without("default_filter_chain").replacing(
      "filter_chains", with: .array(chains))
    return hasType(kept) ? kept : nil
  }

  private static func isWildcard(_ address: String?) -> Bool {
    address == "0.0.0.0" || address == "::"
  }

  private func fits(chain match: JSONValue, isInbound: Bool, own: [String]) -> Bool {
    let destination = match["destination_port"].integerValue
    if let port, destination != port { return false }
    guard let address else { return true }
    let ranges = match["prefix_ranges"].items
    if !ranges.isEmpty { return ranges.contains { Self.holds($0, address) } }
    // A chain without addresses takes those of its node, if that is where its connections go.
    return isInbound && destination != nil && (own.isEmpty || own.contains(address))
  }

  /// Whether an `envoy.config.core.v3.CidrRange` holds an address.
  private static func holds(_ range: JSONValue, _ address: String) -> Bool {
    guard let base = bytes(of: range["address_prefix"].text), let wanted = bytes(of: address),
      base.count == wanted.count
    else { return false }
    let length = min(max(range["prefix_len"].integerValue ?? 0, 0), base.count * 8)
    return (0..<length).allSatisfy { bit in
      let mask = UInt8(0x80) >> UInt8(bit % 8)
      return base[bit / 8] & mask == wanted[bit / 8] & mask
    }
  }

  private static func bytes(of address: String) -> [UInt8]? {
    let isSix = address.contains(":")
    var out = [UInt8](repeating: 0, count: isSix ? 16 : 4)
    return unsafe inet_pton(isSix ? AF_INET6 : AF_INET, address, &out) == 1 ? out : nil
  }
}
