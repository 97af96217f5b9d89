import Engine
import ResourceModel
import Resources
import SwiftProtobuf
import Telemetry

/// One configuration of an HTTP filter that comes by itself (ECDS): follows it, loads it for each chain
/// that takes it by its name, and keeps the last good one. Main thread.
///
/// An update is taken over by all of these chains, or refused by all. What is removed leaves each of them
/// with its default configuration, or, without one, answering every request with 500, as Envoy.
final class FilterSubscription {
  typealias Message = Envoy_Config_Core_V3_TypedExtensionConfig

  /// A filter that takes its configuration from here.
  private struct User {
    let chain: FollowedChain
    /// Its place in the chain.
    let index: Int

    var filter: LoadedFilter { chain.manager.filters[index] }
  }

  let name: String
  /// What is in force.
  private(set) var accepted: AcceptedResource?
  /// What did not suit all chains when it came.
  private var refused: (resource: DiscoveredResource, version: String)?
  private var users: [User] = []
  private let isFile: Bool
  private unowned let server: Server
  private var subscription: (any Subscription)?
  private var hasStarted = false
  /// There is a configuration, or there is no hope for it at first.
  var isInitialized: Bool { first.isThere }
  private let first = FirstAnswer()
  private let reloads: CounterID
  private let failures: CounterID
  private let conflicts: CounterID

  init(_ name: String, _ source: Envoy_Config_Core_V3_ConfigSource, for server: Server) {
    self.name = name
    self.server = server
    isFile = if case .pathConfigSource? = source.configSourceSpecifier { true } else { false }
    let scope = Self.scope(name)
    let store = server.config.store
    reloads = store.counter(scope + "config_reload")
    failures = store.counter(scope + "config_fail")
    conflicts = store.counter(scope + "config_conflict")
    subscription = server.subscribe(
      to: source, .extensions, named: name, of: "ECDS for '\(name)'", scope: scope,
      Subscriber(
        update: { [weak self] in self?.update($0) ?? [] },
        failed: { [weak self] in self?.failed() }))
  }

  /// Of its statistics; ends with a dot.
  static func scope(_ name: String) -> String {
    // As the store writes names.
    let name = String(name.map { $0 == ":" ? "_" : $0 })
    return "extension_config_discovery.http_filter.\(name)."
  }

  /// Asks for the configuration; from then on it is followed.
  func start() {
    guard !hasStarted else { return }
    hasStarted = true
    subscription?.start()
  }

  /// Nobody takes the configuration any more.
  func end() {
    subscription = nil
    first.forget()
  }

  /// Calls `body` once there is a configuration, or there is no hope for it at first.
  func whenInitialized(_ body: @escaping () -> Void) { first.then(body) }

  private func failed() {
    server.config.store.main.add(failures)
    first.come()
  }

  // MARK: Chains

  /// The filter at a place of a chain takes its configuration from here; what is there, it gets at once.
  func add(_ chain: FollowedChain, at index: Int) {
    let user = User(chain: chain, index: index)
    users.append(user)
    guard let accepted else { return }
    let (version, reasons) = load(accepted.resource, for: user)
    if let version { return chain.set(version, at: index) }
    // As in Envoy: what is in force suits those who had it before, and not this one.
    server.config.store.main.add(conflicts)
    for reason in reasons {
      ProcessLog.shared.warning(.config, "ECDS for '\(name)': does not suit a new chain: \(reason)")
    }
  }

  /// It takes it no more. Says whether nobody does.
  func remove(_ chain: FollowedChain) -> Bool {
    let count = users.count
    users.removeAll { $0.chain === chain }
    // What was refused for its sake alone is not sent again.
    if users.count < count, !users.isEmpty, let refused,
      take(refused.resource, refused.version).isEmpty
    {
      self.refused = nil
    }
    return users.isEmpty
  }

  // MARK: Updates

  private func update(_ set: DiscoveredSet) -> [Refusal] {
    defer { first.come() }
    // A stream tells of nothing only when it is gone; a file has to hold one.
    guard !set.resources.isEmpty || isFile else {
      refused = nil
      remove()
      return []
    }
    let reasons =
      set.resources.count == 1 ? take(set.resources[0], set.version) : ["expected one resource"]
    refused = reasons.isEmpty ? nil : set.resources.first.map { ($0, set.version) }
    guard !reasons.isEmpty else { return [] }
    server.config.store.main.add(failures)
    return [Refusal(name: set.resources.first?.name ?? name, reasons: reasons)]
  }

  private func remove() {
    accepted = nil
    for user in users { user.chain.set(nil, at: user.index) }
    server.config.store.main.add(reloads)
    ProcessLog.shared.info(.config, "ECDS: the configuration of filter '\(name)' is removed")
  }

  /// Takes a newer version over; the reasons when the old one stays.
  private func take(_ resource: DiscoveredResource, _ version: String) -> [String] {
    guard resource.isFit else { return resource.problems }
    guard resource.type == ResourceType.extensions.rawValue else {
      return ["expected the configuration of an extension, found '\(resource.type)'"]
    }
    guard resource.name == name else {
      return ["expected the configuration of '\(name)', found '\(resource.name)'"]
    }
    if resource.bytes != accepted?.resource.bytes {
      var versions: [FilterVersion] = []
      for user in users {
        let (loaded, reasons) = load(resource, for: user)
        guard let loaded else { return reasons }
        versions.append(loaded)
      }
      // Only now, when all can have it.
      for (user, loaded) in zip(users, versions) { user.chain.set(loaded, at: user.index) }
      server.config.store.main.add(reloads)
      ProcessLog.shared.info(.config, "ECDS: the configuration of filter '\(name)' is taken over")
    }
    accepted = AcceptedResource(resource: resource, version: version)
    return []
  }

  private func load(
    _ resource: DiscoveredResource, for user: User
  ) -> (version: FilterVersion?, reasons: [String]) {
    let diagnostics = resource.copyOfDiagnostics
    let context = CompileContext(
      server.config.context, tree: resource.tree, diagnostics: diagnostics)
    let place = resource.path.field("typed_config")
    let memory = ResourceMemory()
    let filter = memory.whileOpen { load(at: place, for: user, context) }
    guard !diagnostics.hasErrors, let filter else { return (nil, diagnostics.rendered) }
    return (FilterVersion(filter, in: memory, context, for: server), [])
  }

  private func load(
    at place: ConfigPath, for user: User, _ context: CompileContext
  ) -> LoadedFilter? {
    guard let node = context.tree.node(at: place), let type = node.typeName else {
      context.diagnostics.error(at: place, "missing")
      return nil
    }
    let types = user.filter.discovery?.types ?? []
    guard types.contains(type), let entry = context.registry.entries[type] else {
      context.diagnostics.error(
        at: place,
        "'\(type)' is not among type_urls; expected "
          + types.map { "'\($0)'" }.joined(separator: " or "))
      return nil
    }
    let compiler = ChainCompiler(
      context: context, managerScope: user.chain.manager.compiler.managerScope)
    guard let config = unsafe compiler.makeLoad(entry.table).load(node) else { return nil }
    var filter = unsafe LoadedFilter(
      name: user.filter.name, type: type, table: entry.table, config: config,
      isDisabled: user.filter.isDisabled)
    filter.ownPlace = context.filterPlaces.takeForResource()
    filter.serial = server.filters.nextSerial()
    return filter
  }
}
