import MeshMessages
import SwiftProtobuf

/// What ServiceEntry and WorkloadEntry say about services and workloads.
enum ServiceEntries {
  /// The services of an entry: one for each of its hosts.
  static func services(of object: MeshObject, _ entry: ServiceEntry) -> [MeshService] {
    let ports = entry.ports.map { port in
      MeshPort(
        number: port.number, name: port.name,
        spoken: PortProtocol(word: port.protocol) ?? PortProtocol(portName: port.name) ?? .tcp,
        target: port.targetPort == 0 ? nil : .number(port.targetPort))
    }
    return entry.hosts.map { host in
      var service = MeshService(
        hostname: host, name: object.name, namespace: object.namespace, ports: ports,
        origin: object.id)
      service.isKubernetes = false
      service.isExternal = entry.location == .meshExternal
      service.addresses = entry.addresses
      service.exportTo = entry.exportTo
      service.subjectAltNames = entry.subjectAltNames
      service.selector = entry.workloadSelector.labels
      service.resolution = resolution(of: entry)
      service.creationTimestamp = object.creationTimestamp
      service.sequence = object.sequence
      return service
    }
  }

  private static func resolution(of entry: ServiceEntry) -> MeshService.Resolution {
    switch entry.resolution {
    case .static: .endpoints
    case .dns: .dns
    case .dnsRoundRobin: .dnsRoundRobin
    case .none, .dynamicDns, .UNRECOGNIZED: .passthrough
    }
  }

  /// The workload that an entry of its own is.
  static func workload(of object: MeshObject, _ entry: WorkloadEntry) -> MeshWorkload {
    var workload = MeshWorkload(
      name: object.name, namespace: object.namespace, addresses: [entry.address],
      labels: entry.labels.merging(object.labels) { own, _ in own })
    if !entry.serviceAccount.isEmpty { workload.serviceAccount = entry.serviceAccount }
    workload.locality =
      entry.locality.isEmpty ? MeshLocality(labels: workload.labels) : MeshLocality(entry.locality)
    workload.isReady = WorkloadHealth.isReady(object.annotations)
    workload.weight = entry.weight
    workload.network = entry.network
    workload.portNames = entry.ports
    workload.origin = object.id
    return workload
  }

  /// Endpoints by the service's port: those written in the entry, or the workloads that it selects; of a
  /// service that DNS resolves and that names none, its own host.
  static func endpoints(
    of service: MeshService, _ entry: ServiceEntry, _ sources: RegistrySources
  ) -> [UInt32: [MeshEndpoint]] {
    let selected = sources.workloads(in: service.namespace, selectedBy: service.selector)
    var found: [UInt32: [MeshEndpoint]] = [:]
    for port in service.ports {
      var endpoints = entry.endpoints.map { written($0, for: port, service) }
      endpoints += selected.compactMap { endpoint($0, for: port, service) }
      let isResolved = service.resolution == .dns || service.resolution == .dnsRoundRobin
      if endpoints.isEmpty, isResolved {
        endpoints = [
          MeshEndpoint(
            address: service.hostname, port: number(of: port), namespace: service.namespace)
        ]
      }
      found[port.number] = endpoints
    }
    return found
  }

  private static func number(of port: MeshPort) -> UInt32 {
    if case .number(let number) = port.target { return number }
    return port.number
  }

  private static func written(
    _ entry: WorkloadEntry, for port: MeshPort, _ service: MeshService
  ) -> MeshEndpoint {
    var endpoint = MeshEndpoint(
      address: entry.address, port: entry.ports[port.name] ?? number(of: port),
      labels: entry.labels, namespace: service.namespace)
    endpoint.serviceAccount = entry.serviceAccount
    endpoint.locality = MeshLocality(entry.locality)
    endpoint.weight = entry.weight
    endpoint.network = entry.network
    return endpoint
  }

  private static func endpoint(
    _ workload: MeshWorkload, for port: MeshPort, _ service: MeshService
  ) -> MeshEndpoint? {
    guard let address = workload.addresses.first else { return nil }
    var endpoint = MeshEndpoint(
      address: address, port: workload.portNames[port.name] ?? number(of: port),
      labels: workload.labels, namespace: workload.namespace)
    endpoint.workload = workload.name
    endpoint.serviceAccount = workload.serviceAccount
    endpoint.locality = workload.locality
    endpoint.weight = workload.weight
    endpoint.network = workload.network
    endpoint.isReady = workload.isReady
    return endpoint
  }
}
