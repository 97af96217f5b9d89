import MeshModel
import SwiftProtobuf

/// Who asks for configuration: what a client's node says of it.
package struct ProxyNode: Sendable, Hashable {
  /// Where the proxy stands.
  package enum Role: String, Sendable {
    case sidecar
    /// A gateway.
    case router
  }

  /// What kind of program it is: each understands something else.
  package enum Client: String, Sendable {
    case fairlead, envoy, grpc
  }

  /// How traffic comes to it (Istio: `INTERCEPTION_MODE`).
  package enum Interception: String, Sendable {
    case redirect = "REDIRECT"
    case tproxy = "TPROXY"
    /// Nothing is captured: clients connect to the proxy's own listeners.
    case none = "NONE"
  }

  package private(set) var id: String
  package private(set) var cluster: String
  package var role = Role.sidecar
  package var client = Client.envoy
  /// The client and its version, as it says.
  package var userAgent = ""
  package var addresses: [String] = []
  package var name = ""
  package var namespace = "default"
  package var domain = "cluster.local"
  package var labels: [String: String] = [:]
  package var serviceAccount = "default"
  package var locality = MeshLocality()
  package var interception = Interception.redirect
  /// Where outbound listeners listen when nothing is captured.
  package var bindAddress = "127.0.0.1"
  /// Where the application listens, if not at the workload's own address: requests to the workload's
  /// address are taken by the proxy then, without capture.
  package var applicationAddress: String?
  /// A port for clients that name their target in the request, as of an HTTP proxy (Istio:
  /// `HTTP_PROXY_PORT`).
  package var httpProxyPort: UInt32?
  /// It has a certificate of its own, or is sent one: it has proved who it is, or says that it asks an
  /// authority itself (`OWN_CERTIFICATE`). Without one it is given nothing that needs one.
  package var hasCertificate = false
  /// It has proved who it is on this stream, so it may be sent keys.
  package var hasProvenIdentity = false
  /// The WorkloadGroup that it is to be registered in (Istio: `AUTO_REGISTER_GROUP`); empty for none.
  package var autoRegisterGroup = ""
  /// It checks its application, and reports (Istio: `PROXY_CONFIG.readinessProbe`).
  package var reportsHealth = false
  /// Where the proxy's admin interface is, if it says so.
  package var admin: String?
  /// What it says that it was released with (`ISTIO_VERSION`).
  package var istioVersion = ""
  /// Whatever else it says of itself in words: an EnvoyFilter may ask for it.
  package var metadata: [String: String] = [:]

  /// Reads what a node says, in Istio's form: an id of `type~address~name.namespace~domain`, and
  /// metadata. An id of another form names a sidecar of the namespace that the metadata gives.
  /// - Parameters:
  ///   - userAgent: the program, such as `envoy`.
  ///   - locality: where the node says that it is.
  package init(
    id: String, cluster: String, metadata: Google_Protobuf_Struct, userAgent: String,
    locality: MeshLocality
  ) {
    self.id = id
    self.cluster = cluster
    self.userAgent = userAgent
    self.locality = locality
    let parts = id.split(separator: "~", omittingEmptySubsequences: false).map(String.init)
    if parts.count == 4 {
      role = Role(rawValue: parts[0]) ?? .sidecar
      addresses = parts[1].isEmpty ? [] : [parts[1]]
      takeName(parts[2])
      takeDomain(parts[3])
    } else {
      name = id
    }
    take(metadata.fields)
    client = Self.client(of: userAgent, metadata.fields)
  }

  private mutating func takeName(_ text: String) {
    guard let dot = text.lastIndex(of: ".") else {
      name = text
      return
    }
    name = String(text[..<dot])
    namespace = String(text[text.index(after: dot)...])
  }

  /// `default.svc.cluster.local`: what is behind the namespace's part is the mesh's domain.
  private mutating func takeDomain(_ text: String) {
    let prefix = namespace + ".svc."
    if text.hasPrefix(prefix) { domain = String(text.dropFirst(prefix.count)) }
  }

  private mutating func take(_ fields: [String: Google_Protobuf_Value]) {
    func text(_ name: String) -> String? {
      guard let value = fields[name]?.stringValue, !value.isEmpty else { return nil }
      return value
    }
    if let value = text("NAMESPACE") { namespace = value }
    if let value = text("NAME") { name = value }
    if let value = text("SERVICE_ACCOUNT") { serviceAccount = value }
    if let value = text("INSTANCE_IPS") {
      addresses = value.split(separator: ",").map { $0.filter { $0 != " " } }
    }
    if let value = text("INTERCEPTION_MODE"), let mode = Interception(rawValue: value) {
      interception = mode
    }
    for (name, value) in fields["LABELS"]?.structValue.fields ?? [:] {
      labels[name] = value.stringValue
    }
    if let value = text("BIND_ADDRESS") { bindAddress = value }
    applicationAddress = text("APPLICATION_ADDRESS")
    httpProxyPort = text("HTTP_PROXY_PORT").flatMap { UInt32($0) }
    admin = text("ADMIN_ADDRESS")
    let own = fields["OWN_CERTIFICATE"]
    hasCertificate = own?.boolValue == true || own?.stringValue == "true"
    autoRegisterGroup = text("AUTO_REGISTER_GROUP") ?? ""
    reportsHealth = fields["PROXY_CONFIG"]?.structValue.fields["readinessProbe"] != nil
    if locality.isEmpty { locality = MeshLocality(labels: labels) }
    istioVersion = text("ISTIO_VERSION") ?? ""
    metadata = fields.compactMapValues { value in
      if case .stringValue(let text)? = value.kind { text } else { nil }
    }
  }

  private static func client(
    of userAgent: String, _ fields: [String: Google_Protobuf_Value]
  ) -> Client {
    let agent = userAgent.lowercased()
    if fields["GENERATOR"]?.stringValue == "grpc" || agent.hasPrefix("grpc") { return .grpc }
    return agent.hasPrefix("fairlead") ? .fairlead : .envoy
  }
}

extension ProxyNode {
  /// What a part of a client's configuration depends on: clients with the same are served the same.
  package struct Key: Hashable, Sendable {
    /// With what does not matter left out.
    package fileprivate(set) var node: ProxyNode
    package fileprivate(set) var isInbound: Bool
    /// What EnvoyFilters change of it.
    package fileprivate(set) var patches: [PatchID]
  }

  /// What all depends on but names that only people read.
  private var bare: ProxyNode {
    var node = self
    node.id = ""
    node.cluster = ""
    node.name = ""
    node.admin = nil
    node.autoRegisterGroup = ""
    node.reportsHealth = false
    node.userAgent = ""
    node.istioVersion = ""
    node.metadata = [:]
    return node
  }

  /// Of connections to the workload.
  package func inboundKey(in snapshot: MeshSnapshot) -> Key {
    Key(node: bare, isInbound: true, patches: patches(in: .sidecarInbound, snapshot))
  }

  private func patches(in context: EnvoyFilter.PatchContext, _ snapshot: MeshSnapshot) -> [PatchID]
  {
    snapshot.envoyPatches.patches(for: self, in: context).map(\.id)
  }

  /// Of the workload's own connections, which all workloads of a namespace make alike.
  package func outboundKey(in snapshot: MeshSnapshot) -> Key {
    var node = bare
    node.serviceAccount = ""
    node.applicationAddress = nil
    // Labels say which Gateways are a gateway's.
    if !snapshot.dependsOnLabels, role == .sidecar { node.labels = [:] }
    if !snapshot.dependsOnAddresses || interception == .none { node.addresses = [] }
    return Key(
      node: node, isInbound: false, patches: patches(in: outboundContext, snapshot))
  }
}
