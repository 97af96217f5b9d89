import MeshMessages
import MeshModel
import Resources

/// What is wrong with a ServiceEntry, by Istio's rules.
struct ServiceEntryCheck {
  let check: FieldCheck
  let object: MeshObject

  func check(_ entry: ServiceEntry, _ path: ConfigPath) {
    if entry.hosts.isEmpty { check.error(path, "a ServiceEntry has 'hosts'") }
    for (index, host) in entry.hosts.enumerated() {
      // `*` alone would take the requests of every other service.
      if host == "*" {
        check.error(path["hosts"][index], "'*' is every host: name them, or write '*.example.com'")
      } else {
        check.host(host, path["hosts"][index])
      }
    }
    if entry.hasWorkloadSelector {
      check.selector(entry.workloadSelector.labels, path["workloadSelector"])
      if !entry.endpoints.isEmpty {
        check.error(
          path["endpoints"], "'workloadSelector' and 'endpoints' exclude each other: remove one")
      }
    }
    let takesSubnets = entry.resolution == .none || entry.resolution == .static
    for (index, address) in entry.addresses.enumerated() {
      if !NameSyntax.isSubnet(address) {
        check.error(path["addresses"][index], "'\(address)' is no IP address or subnet")
      } else if address.contains("/"), !takesSubnets {
        check.error(
          path["addresses"][index], "a subnet is for the resolutions NONE and STATIC alone")
      }
    }
    checkPorts(entry.ports, path["ports"])
    checkEndpoints(of: entry, path)
    check.exportTo(entry.exportTo, of: object, path["exportTo"])
  }

  private func checkPorts(
    _ ports: [Istio_Networking_V1alpha3_ServicePort], _ path: ConfigPath
  ) {
    var names: Set<String> = []
    var numbers: Set<UInt32> = []
    for (index, port) in ports.enumerated() {
      let place = path[index]
      check.port(port.number, place["number"])
      if port.targetPort != 0 { check.port(port.targetPort, place["targetPort"]) }
      if !port.protocol.isEmpty, PortProtocol(word: port.protocol) == nil {
        check.error(
          place["protocol"],
          "'\(port.protocol)' is no protocol"
            + Suggestion.phrase(
              for: port.protocol.uppercased(),
              among: PortProtocol.allCases.map { $0.rawValue.uppercased() }))
      }
      if port.name.isEmpty {
        check.error(place, "a ServiceEntry's port has a 'name'")
      } else if !NameSyntax.isLabel(port.name) {
        check.error(place["name"], "'\(port.name)' is no name of a port: http-web is")
      } else if !names.insert(port.name).inserted {
        check.error(
          place["name"], "there is already a port named '\(port.name)': give each its own name")
      }
      if !numbers.insert(port.number).inserted {
        check.error(place["number"], "port \(port.number) is there already: remove one")
      }
    }
  }

  private func checkEndpoints(of entry: ServiceEntry, _ path: ConfigPath) {
    let place = path["endpoints"]
    let hasPatterns = entry.hosts.contains { $0.hasPrefix("*") }
    switch entry.resolution {
    case .none:
      if !entry.endpoints.isEmpty {
        check.error(
          place,
          "with 'resolution: NONE' clients choose the address: use STATIC or DNS, or remove them")
      }
    case .static: break
    case .dns, .dnsRoundRobin:
      if entry.endpoints.isEmpty, hasPatterns, !entry.hasWorkloadSelector {
        check.error(
          path["hosts"],
          "no name server resolves '*': write 'endpoints', name the hosts, or use 'resolution: NONE'"
        )
      }
      if entry.resolution == .dnsRoundRobin, entry.endpoints.count > 1 {
        check.error(
          place, "DNS_ROUND_ROBIN has one endpoint at most: use DNS, or remove the others")
      }
    case .dynamicDns:
      if !entry.hosts.allSatisfy({ $0.hasPrefix("*") }) {
        check.error(path["hosts"], "with DYNAMIC_DNS every host begins with '*'")
      }
      for (field, isThere) in [
        ("addresses", !entry.addresses.isEmpty), ("endpoints", !entry.endpoints.isEmpty),
      ] where isThere {
        check.error(path[field], "with DYNAMIC_DNS addresses come from hosts: remove these")
      }
    case .UNRECOGNIZED: break
    }
    let names = Set(entry.ports.map(\.name))
    for (index, endpoint) in entry.endpoints.enumerated() {
      WorkloadEntryCheck(check: check).check(
        endpoint, place[index], takesNames: entry.resolution != .static)
      for (name, _) in endpoint.ports.sorted(by: { $0.key < $1.key }) where !names.contains(name) {
        check.error(
          place[index]["ports"].key(name),
          "the entry has no port '\(name)'" + Suggestion.phrase(for: name, among: names))
      }
    }
  }
}

/// What is wrong with a workload outside of Kubernetes, by Istio's rules.
struct WorkloadEntryCheck {
  let check: FieldCheck

  /// - Parameter takesNames: the address may be a name that DNS resolves.
  func check(_ entry: WorkloadEntry, _ path: ConfigPath, takesNames: Bool = true) {
    if entry.address.isEmpty {
      if entry.network.isEmpty {
        check.error(path, "a workload has an 'address'")
      } else {
        check.warning(path, "without an 'address', the gateways of '\(entry.network)' are meant")
      }
    } else if entry.address.hasPrefix("unix://") {
      if !entry.ports.isEmpty {
        check.error(path["ports"], "a socket of this machine has no ports")
      }
    } else if takesNames {
      check.host(entry.address, path["address"], takesPatterns: false)
    } else if !NameSyntax.isAddress(entry.address) {
      check.error(
        path["address"], "'\(entry.address)' is no IP address: 'resolution: DNS' takes names")
    }
    for (name, port) in entry.ports.sorted(by: { $0.key < $1.key }) {
      check.port(port, path["ports"].key(name))
    }
    check.labels(entry.labels, path["labels"])
  }

  func check(_ group: WorkloadGroup, _ path: ConfigPath) {
    guard group.hasTemplate else {
      return check.error(path, "a WorkloadGroup has a 'template' for its workloads")
    }
    check.labels(group.metadata.labels, path["metadata"]["labels"])
    check.labels(group.template.labels, path["template"]["labels"])
    if !group.template.address.isEmpty {
      check.error(
        path["template"]["address"], "each workload has its own address: remove this")
    }
    for (name, port) in group.template.ports.sorted(by: { $0.key < $1.key }) {
      check.port(port, path["template"]["ports"].key(name))
    }
    guard group.hasProbe else { return }
    let probe = group.probe
    for (field, value) in [
      ("initialDelaySeconds", probe.initialDelaySeconds), ("timeoutSeconds", probe.timeoutSeconds),
      ("periodSeconds", probe.periodSeconds), ("successThreshold", probe.successThreshold),
      ("failureThreshold", probe.failureThreshold),
    ] {
      check.atLeastZero(value, path["probe"][field])
    }
    switch probe.healthCheckMethod {
    case .httpGet(let get): check.port(get.port, path["probe"]["httpGet"]["port"])
    case .tcpSocket(let socket): check.port(socket.port, path["probe"]["tcpSocket"]["port"])
    case .grpc(let grpc): check.port(grpc.port, path["probe"]["grpc"]["port"])
    case .exec(let exec):
      if exec.command.isEmpty { check.error(path["probe"]["exec"], "a 'command' is needed") }
    case nil: break
    }
  }
}
