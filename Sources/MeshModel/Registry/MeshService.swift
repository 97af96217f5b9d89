/// A service as the mesh knows it: from Kubernetes' Service, or from a ServiceEntry (one for each of its
/// hosts).
package struct MeshService: Sendable {
  /// How its endpoints are found.
  package enum Resolution: Sendable, Equatable {
    /// They are known.
    case endpoints
    /// Their addresses come from DNS, all of them (Istio: `DNS`), or one at a time
    /// (`DNS_ROUND_ROBIN`).
    case dns
    case dnsRoundRobin
    /// Whatever address the client chose.
    case passthrough
  }

  /// `reviews.default.svc.cluster.local`, or what a ServiceEntry says, perhaps `*.example.com`.
  package let hostname: String
  package let name: String
  package let namespace: String
  package var ports: [MeshPort]
  /// Where clients connect to; empty for headless services and those without an address.
  package var addresses: [String] = []
  package var resolution = Resolution.endpoints
  /// Of a ServiceEntry outside of the mesh.
  package var isExternal = false
  /// It is Kubernetes' own: its name has short forms.
  package var isKubernetes = true
  package var isHeadless = false
  /// `*`, `.`, `~` or names of namespaces; empty for the mesh's default.
  package var exportTo: [String] = []
  package var selector: [String: String] = [:]
  package var subjectAltNames: [String] = []
  /// Endpoints that are near are preferred (Kubernetes: `trafficDistribution`).
  package var prefersClose = false
  package let origin: ObjectID
  package var creationTimestamp = ""
  package var sequence: UInt64 = 0

  package init(
    hostname: String, name: String, namespace: String, ports: [MeshPort], origin: ObjectID
  ) {
    self.hostname = hostname
    self.name = name
    self.namespace = namespace
    self.ports = ports
    self.origin = origin
  }

  /// The port of a number.
  package func port(_ number: UInt32) -> MeshPort? { ports.first { $0.number == number } }
}

/// A port of a service.
package struct MeshPort: Sendable, Equatable {
  package let number: UInt32
  package let name: String
  package let spoken: PortProtocol
  /// Where workloads listen: a number, or the name of one of their ports; nil for the same number.
  package let target: TargetPort?

  package enum TargetPort: Sendable, Equatable {
    case number(UInt32)
    case name(String)
  }

  package init(number: UInt32, name: String, spoken: PortProtocol, target: TargetPort? = nil) {
    self.number = number
    self.name = name
    self.spoken = spoken
    self.target = target
  }
}

/// One address of a workload, for one port of a service.
package struct MeshEndpoint: Sendable, Equatable {
  package var address: String
  package var port: UInt32
  package var labels: [String: String]
  package var namespace: String
  package var workload = ""
  package var serviceAccount = ""
  package var locality = MeshLocality()
  package var weight: UInt32 = 0
  package var network = ""
  package var isReady = true

  package init(
    address: String, port: UInt32, labels: [String: String] = [:], namespace: String = ""
  ) {
    self.address = address
    self.port = port
    self.labels = labels
    self.namespace = namespace
  }

  /// The workload has a proxy that takes mutual TLS (label `security.istio.io/tlsMode`).
  package var takesMutualTLS: Bool { labels["security.istio.io/tlsMode"] == "istio" }
}

/// Where a workload runs.
package struct MeshLocality: Sendable, Hashable {
  package var region = ""
  package var zone = ""
  package var subzone = ""

  package init(region: String = "", zone: String = "", subzone: String = "") {
    self.region = region
    self.zone = zone
    self.subzone = subzone
  }

  /// `region/zone/subzone`, where later parts may be missing.
  package init(_ text: String) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    self.init(
      region: parts.first ?? "", zone: parts.count > 1 ? parts[1] : "",
      subzone: parts.count > 2 ? parts[2] : "")
  }

  /// What labels say: the workload's own, or those of its node.
  package init(labels: [String: String]) {
    if let text = labels["istio-locality"] {
      // A label's value takes no slash.
      self.init(text.contains("/") ? text : text.split(separator: ".").joined(separator: "/"))
      return
    }
    self.init(
      region: labels["topology.kubernetes.io/region"] ?? "",
      zone: labels["topology.kubernetes.io/zone"] ?? "",
      subzone: labels["topology.istio.io/subzone"] ?? "")
  }

  package var isEmpty: Bool { region.isEmpty && zone.isEmpty && subzone.isEmpty }
}

/// A workload that endpoints and policies are about: a pod, an entry, or one that registered itself.
package struct MeshWorkload: Sendable {
  package var name: String
  package var namespace: String
  package var addresses: [String]
  package var labels: [String: String]
  package var serviceAccount = "default"
  package var locality = MeshLocality()
  package var isReady = true
  package var weight: UInt32 = 0
  package var network = ""
  /// Ports by their names: of containers, or of an entry.
  package var portNames: [String: UInt32] = [:]
  /// What it came from; nil for those that registered themselves.
  package var origin: ObjectID?

  package init(
    name: String, namespace: String, addresses: [String], labels: [String: String]
  ) {
    self.name = name
    self.namespace = namespace
    self.addresses = addresses
    self.labels = labels
  }
}

extension [String: String] {
  /// Whether all of a selector's labels are here. An empty selector selects all.
  package func contains(labels selector: [String: String]) -> Bool {
    selector.allSatisfy { self[$0.key] == $0.value }
  }
}
