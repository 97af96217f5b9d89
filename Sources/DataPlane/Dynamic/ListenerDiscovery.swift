import CLinux
import Engine
import ResourceModel
import Resources
import Telemetry

/// The listeners that come while the process runs (LDS): compiles those that have changed, hands them to
/// the directory, and removes those that are no longer sent. Main thread.
///
/// An answer is taken over listener by listener: one that is refused keeps its last good version.
final class ListenerDiscovery {
  typealias Message = Envoy_Config_Listener_V3_Listener

  /// Why the last version of a listener that was sent is not in force.
  struct Failure {
    let resource: DiscoveredResource
    let version: String
    let reasons: [String]
    /// Nanoseconds since 1970.
    let at = fl_realtime_ns()
  }

  /// Listeners in force, by name.
  private(set) var accepted: [String: AcceptedResource] = [:]
  private(set) var failures: [String: Failure] = [:]
  private(set) var version = ""
  private unowned let server: Server
  private var subscription: (any Subscription)?
  private var whenInitialized: (() -> Void)?

  init(_ source: Envoy_Config_Core_V3_ConfigSource, for server: Server) {
    self.server = server
    subscription = server.subscribe(
      to: source, .listeners, named: nil, of: "LDS", scope: "listener_manager.lds.",
      Subscriber(
        update: { [weak self] in self?.update($0) ?? [] },
        failed: { [weak self] in self?.initialized() }))
  }

  /// Asks for the listeners. `whenInitialized` is called when the first answer has come, or there is no
  /// hope for one at first; listeners may be warming then.
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
    // First, so that a place that becomes free can be taken.
    for name in set.removed(of: accepted.keys) {
      accepted[name] = nil
      server.listeners.remove(name)
    }
    for name in set.removed(of: failures.keys) + set.resources.map(\.name) {
      failures[name] = nil
    }
    var sent: Set<String> = []
    for resource in set.resources {
      let isTwin = !sent.insert(resource.name).inserted
      let reasons = isTwin ? ["the name is there twice"] : take(resource, set.version)
      guard !reasons.isEmpty else { continue }
      refusals.append(Refusal(name: resource.name, reasons: reasons))
      failures[resource.name] = Failure(
        resource: resource, version: set.version, reasons: reasons)
    }
    if refusals.isEmpty { version = set.version }
    return refusals
  }

  /// Takes one listener over; the reasons when its last version stays.
  private func take(_ resource: DiscoveredResource, _ version: String) -> [String] {
    guard resource.isFit, let message = resource.decode(Message.self) else {
      return resource.problems
    }
    guard !message.name.isEmpty else { return ["a listener that is sent needs a name"] }
    // As in Envoy, the static configuration's stay what they are.
    guard !server.isStatic(listener: message.name) else { return [] }
    if resource.bytes != accepted[message.name]?.resource.bytes {
      let diagnostics = resource.copyOfDiagnostics
      ResourceValidator(diagnostics: diagnostics).validate(
        message, at: resource.path, clusters: server.clusterNames)
      let memory = ResourceMemory()
      let older = server.listeners.replaceable(by: message)
      var compiler = ListenerCompiler(
        context: CompileContext(
          server.config.context, tree: resource.tree, diagnostics: diagnostics),
        replacing: older, separatesChains: true)
      let config = memory.whileOpen { compiler.compile(message, at: resource.path) }
      guard !diagnostics.hasErrors, let config else { return diagnostics.rendered }
      server.noteFields(of: compiler.managers)
      let problem = server.listeners.put(
        CompiledListener(
          config: config, message: message, chains: compiler.chains, bound: compiler.bound,
          memory: memory),
        inPlace: older != nil)
      if let problem { return [problem] }
      ProcessLog.shared.info(.config, "LDS: listener '\(message.name)' is taken over")
    }
    accepted[message.name] = AcceptedResource(resource: resource, version: version)
    return []
  }
}
