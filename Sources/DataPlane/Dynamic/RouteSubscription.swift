import CLinux
import Engine
import ResourceModel
import Resources
import Telemetry

/// One route configuration that connection managers take by its name (RDS): follows it, compiles it
/// for each of them, and keeps the last good one. Main thread.
///
/// An update replaces the tables of all these managers at once. No connection is closed for it, and a
/// request under way keeps the table that it began with.
final class RouteSubscription {
  typealias Message = Envoy_Config_Route_V3_RouteConfiguration

  let name: String
  /// What is in force.
  private(set) var accepted: AcceptedResource?
  private var message = Message()
  private(set) var managers: [CompiledManager] = []
  private unowned let server: Server
  private var subscription: (any Subscription)?
  private let scope: String
  private var hasStarted = false
  /// There are routes, or there is no hope for them at first.
  var isInitialized: Bool { first.isThere }
  private let first = FirstAnswer()
  private let reloads: CounterID
  private let reloadTime: GaugeID
  private let empty: CounterID

  /// - Parameter scope: `http.<stat_prefix>.`, of the manager that asks first.
  init(
    _ name: String, _ source: Envoy_Config_Core_V3_ConfigSource, scope: String, for server: Server
  ) {
    self.name = name
    self.server = server
    let scope = "\(scope)rds.\(name)."
    self.scope = scope
    let store = server.config.store
    reloads = store.counter(scope + "config_reload")
    reloadTime = store.gauge(scope + "config_reload_time_ms")
    empty = store.counter(scope + "update_empty")
    subscription = server.subscribe(
      to: source, .routes, named: name, of: "RDS for '\(name)'", scope: scope,
      Subscriber(
        update: { [weak self] in self?.update($0) ?? [] },
        failed: { [weak self] in self?.first.come() }))
  }

  /// Asks for the routes; from then on they are followed.
  func start() {
    guard !hasStarted else { return }
    hasStarted = true
    subscription?.start()
  }

  /// Nobody takes the routes any more.
  func end() {
    subscription = nil
    server.config.store.remove(prefix: scope)
  }

  /// Calls `body` once there are routes, or there is no hope for them at first.
  func whenInitialized(_ body: @escaping () -> Void) { first.then(body) }

  // MARK: Managers

  /// A connection manager takes its routes from here. What is there, it gets at once; the reasons when
  /// that does not fit its chain.
  func add(_ manager: CompiledManager) -> [String] {
    managers.append(manager)
    guard let accepted else { return [] }
    let (version, reasons) = compile(accepted.resource, message, for: manager)
    server.snapshots.setRoutes(version, of: manager.place)
    return reasons
  }

  /// It takes them no more.
  func remove(place: Int) { managers.removeAll { $0.place == place } }

  // MARK: Updates

  private func update(_ set: DiscoveredSet) -> [Refusal] {
    defer { first.come() }
    guard let resource = set.resources.first else {
      server.config.store.main.add(empty)
      return []
    }
    let reasons = set.resources.count > 1 ? ["expected one resource"] : take(resource, set.version)
    return reasons.isEmpty ? [] : [Refusal(name: resource.name, reasons: reasons)]
  }

  /// Takes a newer version over; the reasons when the old one stays.
  private func take(_ resource: DiscoveredResource, _ version: String) -> [String] {
    guard resource.isFit else { return resource.problems }
    guard resource.type == ResourceType.routes.rawValue else {
      return ["expected a route configuration, found '\(resource.type)'"]
    }
    guard resource.name == name else {
      return ["expected the route configuration '\(name)', found '\(resource.name)'"]
    }
    let isNew = resource.bytes != accepted?.resource.bytes
    guard let message = resource.decode(Message.self) else { return resource.problems }
    if isNew {
      var versions: [(place: Int, version: RouteVersion)] = []
      for manager in managers {
        let (compiled, reasons) = compile(resource, message, for: manager)
        guard let compiled else { return reasons }
        versions.append((manager.place, compiled))
      }
      // Only now, when all managers can have it: they change together.
      for (place, version) in versions { server.snapshots.setRoutes(version, of: place) }
      server.snapshots.publishLater()
      let store = server.config.store
      store.main.add(reloads)
      store.main.gaugeSet(reloadTime, Int64(clamping: fl_realtime_ns() / 1_000_000))
    }
    self.message = message
    accepted = AcceptedResource(resource: resource, version: version)
    return []
  }

  private func compile(
    _ resource: DiscoveredResource, _ message: Message, for manager: CompiledManager
  ) -> (version: RouteVersion?, reasons: [String]) {
    let diagnostics = resource.copyOfDiagnostics
    let context = CompileContext(
      server.config.context, tree: resource.tree, diagnostics: diagnostics)
    ResourceValidator(diagnostics: diagnostics).validate(
      message, at: resource.path, clusters: server.clusterNames,
      filters: Set(manager.filters.map(\.name)))
    let memory = ResourceMemory()
    let table = memory.whileOpen { manager.compiler.compile(message, at: resource.path, context) }
    guard !diagnostics.hasErrors else { return (nil, diagnostics.rendered) }
    return (RouteVersion(table, memories: memory, manager.memory), [])
  }
}

/// All route configurations that are taken by name. Main thread.
final class RouteDirectory {
  private struct Key: Hashable {
    let name: String
    let source: Envoy_Config_Core_V3_ConfigSource
  }

  private unowned let server: Server
  private var subscriptions: [Key: RouteSubscription] = [:]

  init(_ server: Server) { self.server = server }

  /// In the order of their names.
  var all: [RouteSubscription] {
    subscriptions.sorted { $0.key.name < $1.key.name }.map(\.value)
  }

  /// Has a connection manager take its routes from where it says; nil when they stand in its own
  /// configuration.
  func follow(_ manager: CompiledManager) -> RouteSubscription? {
    guard case .discovered(let name, let source) = manager.routes else { return nil }
    let key = Key(name: name, source: source)
    let subscription =
      subscriptions[key]
      ?? RouteSubscription(name, source, scope: manager.compiler.managerScope, for: server)
    subscriptions[key] = subscription
    return subscription
  }

  /// The routes that a connection manager takes by name, once they are followed.
  func subscription(of manager: CompiledManager) -> RouteSubscription? {
    guard case .discovered(let name, let source) = manager.routes else { return nil }
    return subscriptions[Key(name: name, source: source)]
  }

  /// A connection manager is no more.
  func leave(_ manager: CompiledManager) {
    guard case .discovered(let name, let source) = manager.routes,
      let subscription = subscriptions[Key(name: name, source: source)]
    else { return }
    subscription.remove(place: manager.place)
    guard subscription.managers.isEmpty else { return }
    subscription.end()
    subscriptions[Key(name: name, source: source)] = nil
  }
}
