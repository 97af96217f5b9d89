import CLinux
import Engine
import ResourceModel
import Resources
import Telemetry
import Upstream

/// The endpoints of one EDS cluster: follows them and hands them to the cluster, which keeps the last
/// good ones. It lives as long as the cluster follows it. Main thread.
///
/// Hosts that stay keep their connections; those that left finish what is under way.
final class EndpointSubscription {
  typealias Message = Envoy_Config_Endpoint_V3_ClusterLoadAssignment

  let cluster: ActiveCluster
  /// What the endpoints are called.
  let name: String
  private(set) var accepted: AcceptedResource?
  private unowned let server: Server
  private var subscription: (any Subscription)?
  private let empty: CounterID

  private init(
    _ message: Envoy_Config_Cluster_V3_Cluster, _ cluster: ActiveCluster, for server: Server
  ) {
    self.cluster = cluster
    self.server = server
    let eds = message.edsClusterConfig
    name = eds.serviceName.isEmpty ? message.name : eds.serviceName
    let scope = "cluster.\(cluster.config.value.statName.string)."
    empty = server.config.store.counter(scope + "update_empty")
    subscription = server.subscribe(
      to: eds.edsConfig, .endpoints, named: name, of: "EDS for '\(message.name)'", scope: scope,
      Subscriber(
        update: { [weak self] in self?.update($0) ?? [] },
        failed: { [weak self] in self?.cluster.warmed() }))
  }

  /// Has an EDS cluster follow its endpoints.
  /// - Parameter whenInitialized: called when it knows them, or there is no hope for them at first.
  static func follow(
    _ message: Envoy_Config_Cluster_V3_Cluster, _ cluster: ActiveCluster, for server: Server,
    whenInitialized: @escaping () -> Void = {}
  ) {
    let subscription = EndpointSubscription(message, cluster, for: server)
    cluster.follower = subscription
    cluster.onceWarm(whenInitialized)
    subscription.subscription?.start()
  }

  private func update(_ set: DiscoveredSet) -> [Refusal] {
    defer { cluster.warmed() }
    guard let resource = set.resources.first else {
      server.config.store.main.add(empty)
      return []
    }
    let reasons = set.resources.count > 1 ? ["expected one resource"] : take(resource, set.version)
    return reasons.isEmpty ? [] : [Refusal(name: resource.name, reasons: reasons)]
  }

  private func take(_ resource: DiscoveredResource, _ version: String) -> [String] {
    guard resource.isFit else { return resource.problems }
    guard resource.name == name else {
      return ["expected the endpoints of '\(name)', found those of '\(resource.name)'"]
    }
    guard let message = resource.decode(Message.self) else { return resource.problems }
    if resource.bytes != accepted?.resource.bytes {
      let diagnostics = resource.copyOfDiagnostics
      ResourceValidator(diagnostics: diagnostics).validate(message, at: resource.path)
      let memory = ResourceMemory()
      let endpoints = memory.whileOpen {
        EndpointCompiler(diagnostics: diagnostics, discovery: .assigned).compile(
          message, at: resource.path)
      }
      guard !diagnostics.hasErrors else { return diagnostics.rendered }
      _ = cluster.assign(Assignment(endpoints: endpoints, memory: memory))
    }
    accepted = AcceptedResource(resource: resource, version: version)
    return []
  }
}
