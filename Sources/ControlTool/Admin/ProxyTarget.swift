/// Which proxy a person means.
package enum ProxyTarget: Equatable {
  /// An admin port.
  case admin(HTTPAddress)
  /// A process on this machine.
  case process(Int)
  /// A node's whole id, as the control plane knows it.
  case node(String)
  /// `<pod>.<namespace>`: the third part of a node's id.
  case pod(String)

  /// - Parameter namespace: that of a pod named without one.
  package init(_ text: String, namespace: String) throws(ToolError) {
    if text.hasPrefix("pid:") {
      guard let process = Int(text.dropFirst("pid:".count)), process > 0 else {
        throw ToolError("'\(text)' names no process", remedy: "Say pid: and a number: pid:4711.")
      }
      self = .process(process)
    } else if text.contains("~") {
      self = .node(text)
    } else if text.contains(":") || text.contains("/") {
      guard let address = HTTPAddress(text) else {
        throw ToolError(
          "'\(text)' is no admin address",
          remedy: "Say http://127.0.0.1:15000, 127.0.0.1:15000 or [::1]:15000.")
      }
      self = .admin(address)
    } else if text.isEmpty {
      throw ToolError("the proxy's name is empty")
    } else {
      self = .pod(text.contains(".") ? text : "\(text).\(namespace)")
    }
  }

  /// Whether a node's id is meant by a pod's name, or by the id.
  package func fits(nodeID: String) -> Bool {
    switch self {
    case .node(let wanted): return nodeID == wanted
    case .pod(let wanted):
      let parts = nodeID.split(separator: "~", omittingEmptySubsequences: false)
      return nodeID == wanted || parts.count > 2 && parts[2] == wanted
    case .admin, .process: return false
    }
  }

  /// What the control plane is asked by.
  package var proxyID: String {
    switch self {
    case .admin(let address): address.description
    case .process(let process): "pid:\(process)"
    case .node(let id): id
    case .pod(let name): name
    }
  }
}
