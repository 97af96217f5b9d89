import MeshMessages
import MeshModel
import Resources

/// Services: their ports' names, and how they share the ports of workloads.
enum ServiceAnalyzer {
  static func analyze(_ context: AnalysisContext) {
    var shares: [Int: [Share]] = [:]
    for object in context.objects {
      guard case .service(let spec) = object.spec else { continue }
      checkNames(object, spec, context)
      guard !spec.selector.isEmpty, spec.type != "ExternalName" else { continue }
      let selected = context.index.places(in: object.namespace, with: spec.selector)
      if selected.isEmpty {
        context.report(
          .noWorkloads, object, .root["spec"]["selector"],
          "No workload of namespace \(object.namespace) has the labels "
            + "\(Words.selector(spec.selector)): requests to this Service are answered with 503.")
      }
      for place in selected { shares[place, default: []].append(Share(object: object, spec: spec)) }
    }
    for (place, services) in shares.sorted(by: { $0.key < $1.key }) where services.count > 1 {
      checkShared(context.workloads[place], services, context)
    }
  }

  private struct Share {
    let object: MeshObject
    let spec: Kubernetes_ServiceSpec
  }

  /// A port of a service, as a workload serves it.
  private struct Claim {
    let service: MeshObject
    let index: Int
    let port: Kubernetes_ServicePort
    let spoken: PortProtocol

    /// `HTTP`; a port without one is named so.
    var word: String { spoken == .auto ? "TCP" : spoken.rawValue }
  }

  // MARK: Names

  private static func checkNames(
    _ object: MeshObject, _ spec: Kubernetes_ServiceSpec, _ context: AnalysisContext
  ) {
    for (index, port) in spec.ports.enumerated() {
      let place = ConfigPath.root["spec"]["ports"][index]
      let spoken = spoken(port, unnamed: .auto)
      if spec.type == "ExternalName" {
        if spoken == .auto || port.name == "tcp" {
          context.report(
            .externalNamePort, object, place,
            "Port name for ExternalName service is invalid. Proxy may prevent tcp named ports and "
              + "unmatched traffic for ports serving TCP protocol from being forwarded correctly")
        }
      } else if spoken == .auto {
        context.report(
          .portName, object, place,
          "Port name \(port.name) (port: \(port.port), targetPort: \(target(port))) doesn't follow "
            + "the naming convention of Istio port.")
      }
    }
  }

  private static func spoken(
    _ port: Kubernetes_ServicePort, unnamed: PortProtocol
  ) -> PortProtocol {
    .of(
      name: port.name, appProtocol: port.appProtocol, transport: port.protocol, port: port.port,
      unnamed: unnamed)
  }

  private static func target(_ port: Kubernetes_ServicePort) -> String {
    switch port.targetPort.kind {
    case .stringValue(let name) where !name.isEmpty: name
    case .numberValue(let number) where number != 0: "\(Int64(exactly: number) ?? 0)"
    default: "0"
    }
  }

  // MARK: Shared workloads

  private static func checkShared(
    _ workload: AnalysisContext.Workload, _ services: [Share], _ context: AnalysisContext
  ) {
    guard let object = workload.object else { return }
    var claims: [String: [Claim]] = [:]
    for service in services {
      for (index, port) in service.spec.ports.enumerated() {
        var name = target(port)
        if name == "0" { name = String(port.port) }
        if let number = workload.portNames[name] { name = String(number) }
        claims[name, default: []].append(
          Claim(
            service: service.object, index: index, port: port,
            spoken: spoken(port, unnamed: .auto)))
      }
    }
    for (target, claims) in claims.sorted(by: { $0.key < $1.key }) where claims.count > 1 {
      checkProtocols(target, claims, of: object, workload, context)
      checkNumbers(target, claims, of: object, workload, context)
    }
  }

  private static func checkProtocols(
    _ target: String, _ claims: [Claim], of object: MeshObject,
    _ workload: AnalysisContext.Workload, _ context: AnalysisContext
  ) {
    guard Set(claims.map(\.word)).count > 1,
      let winner = claims.map(\.service).min(by: { $0.precedes($1) }),
      let kept = claims.first(where: { $0.service.id == winner.id })
    else { return }
    let names = Set(claims.map { Words.name($0.service) }).sorted()
    if workload.isDeployment {
      context.report(
        .multipleServices, object, .root["metadata"]["name"],
        "This deployment \(object.name) is associated with multiple services using port "
          + "\(target) but different protocols: \(Words.list(names))")
    }
    var told: Set<ObjectID> = []
    for claim in claims where claim.word != kept.word || claim.service.id == winner.id {
      guard told.insert(claim.service.id).inserted else { continue }
      let others = claims.filter { $0.word != claim.word }
        .map { "\($0.word) for \($0.service.name)" }
      context.report(
        .portProtocols, claim.service, .root["spec"]["ports"][claim.index],
        "Port \(target) of \(object.id) carries \(claim.word) for this Service, and "
          + "\(Set(others).sorted().joined(separator: ", ")): a port of a pod speaks one protocol. "
          + "\(winner.name), which was there first, counts.")
    }
  }

  private static func checkNumbers(
    _ target: String, _ claims: [Claim], of object: MeshObject,
    _ workload: AnalysisContext.Workload, _ context: AnalysisContext
  ) {
    let numbers = Set(claims.map(\.port.port)).sorted()
    guard workload.isDeployment, numbers.count > 1 else { return }
    let names = Set(claims.map { Words.name($0.service) }).sorted()
    context.report(
      .conflictingPorts, object, .root["metadata"]["name"],
      "This deployment \(object.name) is associated with multiple services \(Words.list(names)) "
        + "using targetPort \(Words.quoted(target)) but different ports: \(Words.list(numbers)).")
  }
}

/// ServiceEntries that say different things of one host, or too little.
enum ServiceEntryAnalyzer {
  private struct Place: Hashable {
    let host: String
    let port: UInt32
  }

  static func analyze(_ context: AnalysisContext) {
    var claims: [Place: [(object: MeshObject, spoken: String, path: ConfigPath)]] = [:]
    for object in context.objects {
      guard case .serviceEntry(let entry) = object.spec else { continue }
      for (index, port) in entry.ports.enumerated() {
        let place = ConfigPath.root["spec"]["ports"][index]
        let spoken = PortProtocol(word: port.protocol) ?? PortProtocol(portName: port.name) ?? .tcp
        // Without an address, a port of bytes takes the connections of every host.
        if spoken == .tcp, entry.addresses.isEmpty, entry.resolution != .dynamicDns {
          context.report(
            .addressesRequired, object, place["protocol"],
            "ServiceEntry addresses are required for this protocol.")
        }
        for host in entry.hosts {
          claims[Place(host: host, port: port.number), default: []]
            .append((object, spoken.rawValue, place["protocol"]))
        }
      }
    }
    for (place, found) in claims where found.count > 1 {
      let spoken = Set(found.map(\.spoken)).sorted()
      guard spoken.count > 1 else { continue }
      let names = Set(found.map { Words.name($0.object) }).sorted().joined(separator: ",")
      for one in found {
        context.report(
          .conflictingEntries, one.object, one.path,
          "Multiple ServiceEntries (\(names)) define the same host \(Words.quoted(place.host)) and "
            + "port \(place.port) with conflicting protocols (\(spoken.joined(separator: ",")))."
        )
      }
    }
  }
}
