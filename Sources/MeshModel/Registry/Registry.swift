import MeshMessages

/// All services and where they run, at one time. Immutable.
package struct Registry: Sendable {
  /// In the order in which they came; each hostname of a namespace once.
  package private(set) var services: [MeshService] = []
  package private(set) var workloads: [MeshWorkload] = []
  private var indices: [String: [Int]] = [:]
  /// By index of service, by port's number.
  private var endpoints: [[UInt32: [MeshEndpoint]]] = []

  /// No services.
  package init() {}

  /// - Parameters:
  ///   - objects: everything in force.
  ///   - registered: workloads that registered themselves.
  package init(
    objects: [MeshObject], registered: [MeshWorkload] = [], options: RegistryOptions = .init()
  ) {
    let sources = RegistrySources(objects, registered: registered)
    workloads = sources.workloads
    for object in sources.services {
      guard case .service(let spec) = object.spec else { continue }
      let service = KubernetesServices.service(of: object, spec, options: options)
      add(service, KubernetesServices.endpoints(of: service, spec, sources))
    }
    for object in sources.serviceEntries {
      guard case .serviceEntry(let entry) = object.spec else { continue }
      for service in ServiceEntries.services(of: object, entry) {
        add(service, ServiceEntries.endpoints(of: service, entry, sources))
      }
    }
  }

  private mutating func add(_ service: MeshService, _ found: [UInt32: [MeshEndpoint]]) {
    indices[service.hostname, default: []].append(services.count)
    services.append(service)
    endpoints.append(found)
  }

  /// The services of a hostname: in different namespaces there may be several.
  package func services(named hostname: String) -> [MeshService] {
    (indices[hostname] ?? []).map { services[$0] }
  }

  /// The endpoints of a service's port, those that are not ready too.
  package func endpoints(of service: MeshService, port: UInt32) -> [MeshEndpoint] {
    let index = indices[service.hostname]?.first { services[$0].namespace == service.namespace }
    return index.flatMap { endpoints[$0][port] } ?? []
  }

  /// The services of which endpoints are not what they were, and the addresses of those that have come,
  /// gone or changed; nil when more than endpoints differs.
  package func changes(
    since older: Registry
  ) -> (services: [MeshService], addresses: Set<String>)? {
    guard services.count == older.services.count else { return nil }
    var changed: [MeshService] = []
    var addresses: Set<String> = []
    for (index, service) in services.enumerated() {
      guard service.origin == older.services[index].origin,
        service.hostname == older.services[index].hostname
      else { return nil }
      let (now, before) = (endpoints[index], older.endpoints[index])
      guard now != before else { continue }
      changed.append(service)
      for list in Array(now.values) + Array(before.values) {
        addresses.formUnion(list.map { $0.address })
      }
    }
    return (changed, addresses)
  }

  /// The services that a workload is part of, with the port on which it serves each of theirs.
  package func services(
    of labels: [String: String], namespace: String, addresses: [String]
  ) -> [(service: MeshService, port: MeshPort, target: UInt32)] {
    var found: [(MeshService, MeshPort, UInt32)] = []
    let addresses = Set(addresses)
    for (index, service) in services.enumerated() where service.namespace == namespace {
      for port in service.ports {
        let mine = endpoints[index][port.number]?.first { addresses.contains($0.address) }
        if let mine { found.append((service, port, mine.port)) }
      }
    }
    return found
  }
}

/// The objects that a registry is made of, sorted by what they are.
struct RegistrySources {
  var services: [MeshObject] = []
  var serviceEntries: [MeshObject] = []
  var workloads: [MeshWorkload] = []
  /// By namespace and name of the service.
  var slices: [String: [Kubernetes_EndpointSlice]] = [:]
  private var workloadsByNamespace: [String: [Int]] = [:]
  private var workloadsByAddress: [String: Int] = [:]

  init(_ objects: [MeshObject], registered: [MeshWorkload]) {
    var localities: [String: MeshLocality] = [:]
    for object in objects where object.id.kind == .node {
      localities[object.name] = MeshLocality(labels: object.labels)
    }
    for object in objects.sorted(by: { $0.precedes($1) }) {
      switch object.spec {
      case .service: services.append(object)
      case .serviceEntry: serviceEntries.append(object)
      case .endpointSlice(let slice):
        guard let service = object.labels["kubernetes.io/service-name"] else { continue }
        slices[object.namespace + "/" + service, default: []].append(slice)
      case .pod(let spec, let status):
        add(KubernetesServices.workload(of: object, spec, status, localities: localities))
      case .workloadEntry(let entry): add(ServiceEntries.workload(of: object, entry))
      default: break
      }
    }
    for workload in registered { add(workload) }
  }

  private mutating func add(_ workload: MeshWorkload) {
    // Whoever registers itself and is known already is that one.
    if workload.origin == nil,
      let first = workload.addresses.first, workloadsByAddress[first] != nil
    {
      return
    }
    for address in workload.addresses { workloadsByAddress[address] = workloads.count }
    workloadsByNamespace[workload.namespace, default: []].append(workloads.count)
    workloads.append(workload)
  }

  /// The workloads of a namespace that a selector selects; none if it is empty.
  func workloads(in namespace: String, selectedBy selector: [String: String]) -> [MeshWorkload] {
    guard !selector.isEmpty else { return [] }
    return (workloadsByNamespace[namespace] ?? []).map { workloads[$0] }
      .filter { $0.labels.contains(labels: selector) }
  }

  /// The workload of an address.
  func workload(at address: String) -> MeshWorkload? {
    workloadsByAddress[address].map { workloads[$0] }
  }
}
