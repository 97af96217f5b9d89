import CLinux
import Engine
import ResourceModel
import Resources
import Telemetry
import Upstream

/// The clusters that come while the process runs (CDS): compiles those that have changed, hands them to
/// the cluster manager, and removes those that are no longer sent. Main thread.
///
/// An answer is taken over cluster by cluster: one that is refused keeps its last good version.
final class ClusterDiscovery {
  typealias Message = Envoy_Config_Cluster_V3_Cluster

  /// Clusters in force, by name.
  private(set) var accepted: [String: AcceptedResource] = [:]
  private(set) var version = ""
  private unowned let server: Server
  private var subscription: (any Subscription)?
  private var whenInitialized: (() -> Void)?

  init(_ source: Envoy_Config_Core_V3_ConfigSource, for server: Server) {
    self.server = server
    subscription = server.subscribe(
      to: source, .clusters, named: nil, of: "CDS", scope: "cluster_manager.cds.",
      Subscriber(
        update: { [weak self] in self?.update($0) ?? [] },
        failed: { [weak self] in self?.initialized() }))
  }

  /// Asks for the clusters. `whenInitialized` is called when the first answer has come, or there is no
  /// hope for one at first; clusters may be warming then.
  func start(whenInitialized: @escaping () -> Void) {
    self.whenInitialized = whenInitialized
    subscription?.start()
  }

  private func initialized() {
    let body = whenInitialized
    whenInitialized = nil
    body?()
  }

  private func update(_ set: DiscoveredSet) -> [Refusal] {
    defer { initialized() }
    var refusals: [Refusal] = []
    var sent: Set<String> = []
    for resource in set.resources {
      guard sent.insert(resource.name).inserted else {
        refusals.append(Refusal(name: resource.name, reasons: ["the name is there twice"]))
        continue
      }
      let reasons = take(resource, set.version)
      if !reasons.isEmpty { refusals.append(Refusal(name: resource.name, reasons: reasons)) }
    }
    // What was refused was still sent: its last good version stays.
    for name in set.removed(of: accepted.keys) {
      accepted[name] = nil
      server.clusters?.remove(name)
    }
    if refusals.isEmpty { version = set.version }
    return refusals
  }

  /// Takes one cluster over; the reasons when its last version stays.
  private func take(_ resource: DiscoveredResource, _ version: String) -> [String] {
    guard resource.isFit else { return resource.problems }
    guard let clusters = server.clusters, let message = resource.decode(Message.self) else {
      return resource.problems
    }
    // As in Envoy, the static configuration's stay what they are.
    guard !server.isStatic(cluster: message.name) else { return [] }
    if resource.bytes != accepted[message.name]?.resource.bytes {
      let diagnostics = resource.copyOfDiagnostics
      ResourceValidator(diagnostics: diagnostics).validate(message, at: resource.path)
      let context = CompileContext(
        server.config.context, tree: resource.tree, diagnostics: diagnostics)
      let compiled = ClusterResourceCompiler(context: context).compile(message, at: resource.path)
      guard !diagnostics.hasErrors else { return diagnostics.rendered }
      let cluster = clusters.put(compiled)
      if compiled.config.value.discovery == .assigned {
        EndpointSubscription.follow(message, cluster, for: server)
      }
      ProcessLog.shared.debug(.upstream, "CDS: cluster '\(message.name)' is taken over")
    }
    accepted[message.name] = AcceptedResource(resource: resource, version: version)
    return []
  }
}
