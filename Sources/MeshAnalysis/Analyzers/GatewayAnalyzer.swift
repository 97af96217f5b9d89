import MeshMessages
import MeshModel
import MeshTranslation
import Resources

/// Gateways: who listens for them, with which certificates, and where they meet.
enum GatewayAnalyzer {
  static func analyze(_ context: AnalysisContext) {
    let services = context.objects.compactMap { object -> (MeshObject, Kubernetes_ServiceSpec)? in
      guard case .service(let spec) = object.spec, !spec.selector.isEmpty else { return nil }
      return (object, spec)
    }
    let secrets = Dictionary(
      grouping: context.objects.filter { $0.id.kind == .secret }, by: \.name)
    for gateway in context.snapshot.gateways {
      if isSelected(gateway, context) {
        checkConflicts(gateway, context)
        checkPorts(gateway, services, context)
      }
      checkCredentials(gateway, context, secrets)
    }
    checkCertificates(context)
  }

  /// What istioctl takes for granted when it sees files alone.
  private static let assumed = ["ingressgateway", "egressgateway"]

  private static func isSelected(
    _ gateway: Rule<Gateway>, _ context: AnalysisContext
  ) -> Bool {
    let selector = gateway.spec.selector
    guard !selector.isEmpty else { return true }
    if !context.index.places(in: nil, with: selector).isEmpty { return true }
    if context.isOffline, let name = selector["istio"], assumed.contains(name) { return true }
    context.report(
      .referencedResourceNotFound, gateway.object, .root["spec"]["selector"],
      "Referenced selector not found: \(Words.quoted(Words.selector(selector)))")
    return false
  }

  // MARK: Conflicts

  private static func checkConflicts(_ gateway: Rule<Gateway>, _ context: AnalysisContext) {
    for (index, server) in gateway.spec.servers.enumerated() {
      let others = context.snapshot.gateways.filter { other in
        other.object.id != gateway.object.id && meet(gateway, other, context)
          && other.spec.servers.contains { conflicts($0, server) }
      }
      guard !others.isEmpty else { continue }
      let names = others.map { Words.name($0.object) }.sorted().joined(separator: ",")
      context.report(
        .conflictingGateways, gateway.object, .root["spec"]["servers"][index],
        "Conflict with gateways \(names) (workload selector "
          + "\(Words.selector(gateway.spec.selector)), port \(server.port.number), hosts "
          + "\(server.hosts.joined(separator: ","))).")
    }
  }

  private static func meet(
    _ one: Rule<Gateway>, _ other: Rule<Gateway>, _ context: AnalysisContext
  ) -> Bool {
    let (left, right) = (one.spec.selector, other.spec.selector)
    if left == right { return true }
    let both = left.merging(right) { mine, _ in mine }
    guard both.contains(labels: right) else { return false }
    return !context.index.places(in: nil, with: both).isEmpty
  }

  private static func conflicts(
    _ one: Istio_Networking_V1alpha3_Server, _ other: Istio_Networking_V1alpha3_Server
  ) -> Bool {
    one.port.number == other.port.number && one.bind == other.bind
      && one.hosts.contains { other.hosts.contains($0) }
  }

  // MARK: Ports

  private static func checkPorts(
    _ gateway: Rule<Gateway>, _ services: [(MeshObject, Kubernetes_ServiceSpec)],
    _ context: AnalysisContext
  ) {
    let places = context.index.places(in: nil, with: gateway.spec.selector)
    let before = services.filter { object, spec in
      places.contains {
        context.workloads[$0].namespace == object.namespace
          && context.workloads[$0].labels.contains(labels: spec.selector)
      }
    }
    guard !gateway.spec.selector.isEmpty, !before.isEmpty else { return }
    let targets = Set(
      before.flatMap { _, spec in
        spec.ports.flatMap { port -> [UInt32] in
          switch port.targetPort.kind {
          case .numberValue(let number): [UInt32(exactly: number) ?? 0, port.port]
          case .stringValue(let name):
            places.compactMap { context.workloads[$0].portNames[name] } + [port.port]
          default: [port.port]
          }
        }
      })
    for (index, server) in gateway.spec.servers.enumerated()
    where !targets.contains(server.port.number) {
      context.report(
        .gatewayPort, gateway.object, .root["spec"]["servers"][index]["port"]["number"],
        "The gateway is listening on a target port (port \(server.port.number)) that is not defined "
          + "in the Service associated with its workload instances (Pod selector "
          + "\(Words.selector(gateway.spec.selector))). If you need to access the gateway port "
          + "through the gateway Service, it will not be available.")
    }
  }

  // MARK: Certificates

  private static func checkCredentials(
    _ gateway: Rule<Gateway>, _ context: AnalysisContext, _ secrets: [String: [MeshObject]]
  ) {
    for (index, server) in gateway.spec.servers.enumerated() {
      let tls = server.tls
      let names = (tls.credentialName.isEmpty ? [] : [tls.credentialName]) + tls.credentialNames
      let place = ConfigPath.root["spec"]["servers"][index]["tls"]["credentialName"]
      for name in names {
        // Secrets are looked up where the gateway runs; most often that is where its object is.
        let parts = name.split(separator: "/", maxSplits: 1).map(String.init)
        let namespace = parts.count == 2 ? parts[0] : gateway.namespace
        let named = secrets[parts.last ?? name] ?? []
        let found =
          named.first { $0.namespace == namespace } ?? (parts.count == 2 ? nil : named.first)
        guard let found, case .secret(let secret) = found.spec else {
          context.report(
            .referencedResourceNotFound, gateway.object, place,
            "Referenced credentialName not found: \(Words.quoted(name))")
          continue
        }
        if !SecretMaterial(secret).isPair {
          context.report(
            .invalidCredential, gateway.object, place,
            "The credential referenced by the Gateway \(gateway.object.name) in namespace "
              + "\(gateway.namespace) is invalid, which can cause the traffic not to work as "
              + "expected.")
        }
      }
    }
  }

  private struct Certificate: Hashable {
    let name: String
    let selector: [String: String]
  }

  /// A client that has a connection for one host uses it for another of the same certificate.
  private static func checkCertificates(_ context: AnalysisContext) {
    var users: [Certificate: [Rule<Gateway>]] = [:]
    for gateway in context.snapshot.gateways {
      let names = Set(
        gateway.spec.servers.flatMap {
          [$0.tls.credentialName, $0.tls.serverCertificate]
        }.filter { !$0.isEmpty })
      for name in names {
        users[Certificate(name: name, selector: gateway.spec.selector), default: []]
          .append(gateway)
      }
    }
    for gateways in users.values where gateways.count > 1 {
      let names = gateways.map { Words.name($0.object) }.sorted()
      for gateway in gateways {
        context.report(
          .duplicateCertificate, gateway.object, .root["spec"]["servers"],
          "Duplicate certificate in multiple gateways \(Words.list(names)) may cause 404s if clients "
            + "re-use HTTP2 connections.")
      }
    }
  }
}
