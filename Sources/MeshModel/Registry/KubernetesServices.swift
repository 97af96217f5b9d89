import MeshMessages

/// What Kubernetes' objects say about services and workloads.
enum KubernetesServices {
  /// The service of a Service.
  static func service(
    of object: MeshObject, _ spec: Kubernetes_ServiceSpec, options: RegistryOptions
  ) -> MeshService {
    let ports = spec.ports.map { port in
      MeshPort(
        number: port.port, name: port.name,
        spoken: .of(
          name: port.name, appProtocol: port.appProtocol, transport: port.protocol,
          port: port.port, unnamed: options.unnamedPorts),
        target: target(of: port))
    }
    var service = MeshService(
      hostname: "\(object.name).\(object.namespace).svc.\(options.domain)", name: object.name,
      namespace: object.namespace, ports: ports, origin: object.id)
    service.selector = spec.selector
    service.exportTo = exportTo(object)
    service.creationTimestamp = object.creationTimestamp
    service.sequence = object.sequence
    service.prefersClose = ["PreferClose", "PreferSameZone", "PreferSameNode"]
      .contains(spec.trafficDistribution)
    let given = spec.clusterIps.isEmpty ? [spec.clusterIp] : spec.clusterIps
    service.addresses = given.filter { !$0.isEmpty && $0 != "None" }
    if spec.clusterIp == "None" {
      service.isHeadless = true
      service.resolution = .passthrough
    }
    if spec.type == "ExternalName" {
      service.resolution = .dns
      service.isExternal = true
    }
    return service
  }

  private static func target(of port: Kubernetes_ServicePort) -> MeshPort.TargetPort? {
    switch port.targetPort.kind {
    case .numberValue(let number):
      // 0 is how Kubernetes leaves it out.
      UInt32(exactly: number).flatMap { $0 == 0 ? nil : .number($0) }
    case .stringValue(let name): UInt32(name).map { .number($0) } ?? .name(name)
    default: nil
    }
  }

  private static func exportTo(_ object: MeshObject) -> [String] {
    (object.annotations["networking.istio.io/exportTo"] ?? "").split(separator: ",")
      .map { $0.filter { $0 != " " } }
  }

  /// The workload that a pod is.
  static func workload(
    of object: MeshObject, _ spec: Kubernetes_PodSpec, _ status: Kubernetes_PodStatus,
    localities: [String: MeshLocality]
  ) -> MeshWorkload {
    let ips = status.podIps.isEmpty ? [status.podIp] : status.podIps.map(\.ip)
    var workload = MeshWorkload(
      name: object.name, namespace: object.namespace, addresses: ips.filter { !$0.isEmpty },
      labels: object.labels)
    if !spec.serviceAccountName.isEmpty { workload.serviceAccount = spec.serviceAccountName }
    workload.locality = MeshLocality(labels: object.labels)
    if workload.locality.isEmpty {
      workload.locality = localities[spec.nodeName] ?? MeshLocality()
    }
    for port in spec.containers.flatMap(\.ports) where !port.name.isEmpty {
      workload.portNames[port.name] = port.containerPort
    }
    let readiness = status.conditions.first { $0.type == "Ready" }
    let isOver = ["Succeeded", "Failed"].contains(status.phase)
    workload.isReady = !isOver && readiness?.status != "False"
    workload.origin = object.id
    return workload
  }

  /// Endpoints by the service's port: from its EndpointSlices, or else of the workloads that it selects.
  static func endpoints(
    of service: MeshService, _ spec: Kubernetes_ServiceSpec, _ sources: RegistrySources
  ) -> [UInt32: [MeshEndpoint]] {
    if spec.type == "ExternalName" {
      return Dictionary(
        service.ports.map { port in
          (port.number, [MeshEndpoint(address: spec.externalName, port: port.number)])
        }, uniquingKeysWith: { first, _ in first })
    }
    let slices = sources.slices[service.namespace + "/" + service.name] ?? []
    var found: [UInt32: [MeshEndpoint]] = [:]
    for port in service.ports {
      var endpoints = slices.flatMap { inSlice($0, for: port, service, sources) }
      if slices.isEmpty {
        endpoints = selected(for: port, service, sources)
      }
      if spec.publishNotReadyAddresses {
        for index in endpoints.indices { endpoints[index].isReady = true }
      }
      found[port.number] = endpoints
    }
    return found
  }

  private static func inSlice(
    _ slice: Kubernetes_EndpointSlice, for port: MeshPort, _ service: MeshService,
    _ sources: RegistrySources
  ) -> [MeshEndpoint] {
    // A slice's port has the name of the service's; the only one may have none.
    let match = slice.ports.first { $0.name == port.name }
    guard let number = match?.port, number > 0 else { return [] }
    return slice.endpoints.flatMap { one in
      one.addresses.map { address in
        let workload = sources.workload(at: address)
        var endpoint = endpoint(address, number, workload, in: service.namespace)
        if endpoint.workload.isEmpty { endpoint.workload = one.targetRef.name }
        if !one.zone.isEmpty, endpoint.locality.zone.isEmpty { endpoint.locality.zone = one.zone }
        endpoint.isReady = !one.conditions.hasReady || one.conditions.ready.value
        return endpoint
      }
    }
  }

  private static func selected(
    for port: MeshPort, _ service: MeshService, _ sources: RegistrySources
  ) -> [MeshEndpoint] {
    sources.workloads(in: service.namespace, selectedBy: service.selector).compactMap { workload in
      guard let address = workload.addresses.first, let number = target(of: port, on: workload)
      else { return nil }
      return endpoint(address, number, workload, in: service.namespace)
    }
  }

  private static func target(of port: MeshPort, on workload: MeshWorkload) -> UInt32? {
    switch port.target {
    case .number(let number): number
    case .name(let name): workload.portNames[name]
    case nil: workload.portNames[port.name] ?? port.number
    }
  }

  private static func endpoint(
    _ address: String, _ port: UInt32, _ workload: MeshWorkload?, in namespace: String
  ) -> MeshEndpoint {
    var endpoint = MeshEndpoint(
      address: address, port: port, labels: workload?.labels ?? [:], namespace: namespace)
    guard let workload else { return endpoint }
    endpoint.workload = workload.name
    endpoint.serviceAccount = workload.serviceAccount
    endpoint.locality = workload.locality
    endpoint.weight = workload.weight
    endpoint.network = workload.network
    endpoint.isReady = workload.isReady
    return endpoint
  }
}
