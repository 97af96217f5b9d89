/// The control plane's port for people.
package struct ControlPlaneClient: Sendable {
  package static let defaultAddress = "127.0.0.1:15014"

  package let http: HTTPClient

  package init(_ address: HTTPAddress) { http = HTTPClient(address) }

  /// A proxy that is connected.
  package struct Connection: Equatable, Sendable {
    package let nodeID: String
    package let admin: HTTPAddress?

    /// The node's own address: the second part of its id.
    package var address: String? {
      let parts = nodeID.split(separator: "~", omittingEmptySubsequences: false)
      return parts.count == 4 && !parts[1].isEmpty ? String(parts[1]) : nil
    }
  }

  /// Every proxy that is connected.
  package func connections() throws(ToolError) -> [Connection] {
    Self.connections(in: try document("/debug/connections"))
  }

  static func connections(in document: JSONValue) -> [Connection] {
    document["clients"].items.map {
      Connection(
        nodeID: $0["nodeId"].text, admin: $0["admin"].stringValue.flatMap(HTTPAddress.init))
    }
  }

  /// What the control plane sent to a proxy, in the shape of a proxy's own dump.
  package func configDump(of target: ProxyTarget) throws(ToolError) -> JSONValue {
    try document("/debug/config_dump?proxyID=\(Self.escaped(target.proxyID))")
  }

  /// How far each proxy has followed.
  package func syncStatus() throws(ToolError) -> JSONValue { try document("/debug/syncz") }

  /// What is wrong or doubtful in the mesh.
  package func analysis() throws(ToolError) -> JSONValue { try document("/debug/analysis") }

  private func document(_ target: String) throws(ToolError) -> JSONValue {
    try reach { () throws(ToolError) in try http.document(target) }
  }

  /// Asks, and says what would help when there is nobody to ask.
  func reach<Answer>(_ ask: () throws(ToolError) -> Answer) throws(ToolError) -> Answer {
    do throws(ToolError) {
      return try ask()
    } catch {
      throw ToolError(
        "the control plane cannot be asked: \(error.problem)",
        remedy: error.remedy
          ?? "Is fairlead-control running? --control says where its HTTP port is "
          + "(\(Self.defaultAddress) unless told otherwise); an admin address "
          + "(127.0.0.1:15000) or --file needs no control plane.")
    }
  }

  /// Percent-encoded where a query needs it (RFC 3986 §3.4).
  static func escaped(_ text: String) -> String {
    text.utf8.map { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
        UInt8(ascii: "_"), UInt8(ascii: "~"):
        return String(UnicodeScalar(byte))
      default:
        let digits = String(byte, radix: 16, uppercase: true)
        return "%" + (digits.count < 2 ? "0" : "") + digits
      }
    }.joined()
  }

  /// Where a proxy answers questions; nil when it is connected and has told no admin port.
  package func admin(of target: ProxyTarget) throws(ToolError) -> HTTPAddress? {
    let all = try connections()
    // A proxy that came back may still be there twice: the later one is the one that runs.
    guard let found = all.last(where: { target.fits(nodeID: $0.nodeID) }) else {
      throw ToolError(
        "no proxy '\(target.proxyID)' is connected to the control plane at \(http.address)",
        remedy: Self.known(all))
    }
    return found.admin
  }

  /// Names to choose from.
  static func known(_ connections: [Connection]) -> String {
    guard !connections.isEmpty else { return "None is connected at all." }
    let shown = 10
    let names = Set(connections.map(\.nodeID)).map { id in
      let parts = id.split(separator: "~", omittingEmptySubsequences: false)
      return parts.count > 2 ? String(parts[2]) : id
    }.sorted()
    let more = names.count > shown ? " and \(names.count - shown) more" : ""
    return "Connected are: \(names.prefix(shown).joined(separator: ", "))\(more)."
  }
}
