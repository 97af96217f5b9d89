import CFilterABI
import Engine
import ResourceModel
import Resources
import Routing
import SwiftProtobuf
import Telemetry

/// Compiles the HTTP filters of one connection manager: loads each through the door, adds Timeout and
/// Retry where they are missing, and lays out a stream's memory.
struct ChainCompiler {
  typealias Message = Envoy_Extensions_Filters_Network_HttpConnectionManager_V3_HttpFilter

  let context: CompileContext
  /// `http.<stat_prefix>.`
  let managerScope: String

  /// What came of it.
  struct Result {
    var chain: FilterChain
    var filters: [LoadedFilter]
    var router = Envoy_Extensions_Filters_Http_Router_V3_Router()
  }

  func compile(_ filters: [Message], at path: ConfigPath) -> Result {
    var loaded: [LoadedFilter] = []
    var router = Envoy_Extensions_Filters_Http_Router_V3_Router()
    for (index, filter) in filters.enumerated() {
      if case .configDiscovery(let source)? = filter.configType {
        if let one = follow(filter, source, at: path.index(index)) { loaded.append(one) }
        continue
      }
      let type = FilterRegistry.typeName(of: filter.typedConfig.typeURL)
      if type == FilterRegistry.router {
        router = (try? .init(serializedBytes: filter.typedConfig.value)) ?? router
      } else if let one = load(filter, type, at: path.index(index)) {
        loaded.append(one)
      }
    }
    addImplied(to: &loaded)
    checkReplay(loaded, at: path)
    let chain = Self.layOut(loaded)
    checkSize(of: chain, loaded, at: path)
    return Result(chain: chain, filters: loaded, router: router)
  }

  /// What all filters keep for a request has to fit into one block, whichever configuration comes for those
  /// that take it by name.
  private func checkSize(of chain: FilterChain, _ loaded: [LoadedFilter], at path: ConfigPath) {
    var most = chain.memoryBytes
    for filter in loaded {
      let sizes = (filter.discovery?.types ?? []).map { type in
        unsafe context.registry.entries[type]?.table.pointee.state_size ?? 0
      }
      // States are aligned to 16 bytes.
      most += max(0, (sizes.max() ?? 0) - (unsafe filter.table.pointee.state_size)) + 16
    }
    guard most > BlockPool.largest else { return }
    context.diagnostics.error(
      at: path,
      "the filters keep \(most) bytes for each request; at most \(BlockPool.largest): use fewer")
  }

  private func load(_ filter: Message, _ type: String, at path: ConfigPath) -> LoadedFilter? {
    let place = path.field("typed_config")
    guard let entry = context.registry.entries[type] else {
      if !filter.isOptional, !context.diagnostics.hasError(at: place) {
        context.diagnostics.error(at: place, "no HTTP filter is registered for '\(type)'")
      }
      return nil
    }
    let load = unsafe makeLoad(entry.table)
    guard let node = context.tree.node(at: place), let config = unsafe load.load(node) else {
      return nil
    }
    return unsafe LoadedFilter(
      name: filter.name, type: type, table: entry.table, config: config,
      isDisabled: filter.disabled)
  }

  /// A filter whose configuration comes by itself: what goes as long as it has not.
  private func follow(
    _ filter: Message, _ source: Envoy_Config_Core_V3_ExtensionConfigSource, at path: ConfigPath
  ) -> LoadedFilter? {
    let place = path.field("config_discovery")
    context.streams.check(
      source.configSource, at: place.field("config_source"), context.diagnostics)
    let types = source.typeUrls.map(FilterRegistry.typeName)
    for (index, type) in types.enumerated() where context.registry.entries[type] == nil {
      let at = place.field("type_urls").index(index)
      guard !context.diagnostics.hasError(at: at) else { continue }
      context.diagnostics.error(at: at, "no HTTP filter is registered for '\(type)'")
    }
    var followed = MissingFilter.make(filter.name, isDisabled: filter.disabled)
    if source.hasDefaultConfig {
      let type = FilterRegistry.typeName(of: source.defaultConfig.typeURL)
      guard let entry = context.registry.entries[type],
        let node = context.tree.node(at: place.field("default_config")),
        let config = unsafe makeLoad(entry.table).load(node)
      else { return nil }
      unsafe followed = LoadedFilter(
        name: filter.name, type: type, table: entry.table, config: config,
        isDisabled: filter.disabled)
    }
    followed.discovery = LoadedFilter.Discovery(
      source: source.configSource, types: types,
      isWaitedFor: !source.applyDefaultConfigWithoutWarming)
    unsafe followed.routeTable = nil
    if types.count == 1 { unsafe followed.routeTable = context.registry.entries[types[0]]?.table }
    return followed
  }

  func makeLoad(_ table: UnsafePointer<fl_filter>) -> FilterLoad {
    let load = unsafe FilterLoad(
      table: table, tree: context.tree, diagnostics: context.diagnostics, store: context.store,
      runtime: context.runtime, managerScope: managerScope)
    context.keep(load)
    return load
  }

  /// A chain without Timeout or Retry gets them before the router, taking their settings from the
  /// route: so Envoy's configurations behave as in Envoy.
  private func addImplied(to loaded: inout [LoadedFilter]) {
    for type in [FilterRegistry.timeout, FilterRegistry.retry]
    where !loaded.contains(where: { $0.type == type }) {
      guard let entry = context.registry.entries[type],
        let config = unsafe makeLoad(entry.table).load(nil)
      else { continue }
      unsafe loaded.append(
        LoadedFilter(name: type, type: type, table: entry.table, config: config, isDisabled: false))
    }
  }

  private func checkReplay(_ loaded: [LoadedFilter], at path: ConfigPath) {
    let replaying = loaded.filter(\.mayReplay)
    guard replaying.count > 1 else { return }
    let names = replaying.map { "'\($0.name)'" }.joined(separator: " and ")
    context.diagnostics.error(
      at: path, "\(names) may both send a request again: a chain holds one such filter")
  }

  /// The chain of these filters.
  static func layOut(_ loaded: [LoadedFilter]) -> FilterChain {
    let slots = loaded.count * MemoryLayout<FilterSlot>.stride
    var offset = slots
    var entries: [FilterEntry] = []
    for (index, one) in loaded.enumerated() {
      offset = (offset + 15) / 16 * 16
      unsafe entries.append(
        FilterEntry(
          name: .configured(one.name), table: FilterTable(one.table), config: one.config,
          stateOffset: offset, routeSlot: index, ownPlace: one.ownPlace,
          serial: one.serial, isDisabled: one.isDisabled, mayReplay: one.mayReplay))
      unsafe offset += one.table.pointee.state_size
    }
    return FilterChain(entries, stateBytes: offset - slots)
  }
}

/// A filter of a chain whose configuration has been accepted.
@safe
struct LoadedFilter {
  let name: String
  let type: String
  let table: UnsafePointer<fl_filter>
  let config: UnsafeMutableRawPointer
  let isDisabled: Bool
  /// What reads routes' configurations of the filter; nil where it cannot be known.
  var routeTable: UnsafePointer<fl_filter>?
  /// Where the filter's configuration comes from by itself; this one goes as long as it has not.
  var discovery: Discovery?
  /// Of a configuration that has come by itself: its place among those on each worker.
  var ownPlace: Int?
  /// Tells configurations apart that took each other's place.
  var serial: UInt32 = 1

  /// `config_discovery`.
  struct Discovery {
    let source: Envoy_Config_Core_V3_ConfigSource
    /// Full names of messages.
    let types: [String]
    /// The listener does not serve before the configuration has come, or there is no hope for it.
    let isWaitedFor: Bool
  }

  init(
    name: String, type: String, table: UnsafePointer<fl_filter>,
    config: UnsafeMutableRawPointer, isDisabled: Bool
  ) {
    self.name = name
    self.type = type
    unsafe self.table = table
    unsafe self.config = config
    self.isDisabled = isDisabled
    unsafe routeTable = table
  }

  var mayReplay: Bool { unsafe table.pointee.flags & UInt32(FL_MAY_REPLAY) != 0 }
}

/// Messages that the host compiles for a filter while it loads.
enum PolicyCompiler {
  /// A RetryPolicy message.
  static func retryPolicy(
    _ node: ConfigNode, _ diagnostics: Diagnostics
  ) -> UnsafePointer<fl_retry_policy>? {
    let before = diagnostics.errorCount
    guard let message = try? Envoy_Config_Route_V3_RetryPolicy(serializedBytes: node.serialized)
    else { return nil }
    let policy = unsafe RetryPolicyCompiler.compile(message, at: node.path, diagnostics)
    return diagnostics.errorCount == before ? unsafe UnsafePointer(policy.pointer) : nil
  }

  /// A list of HeaderMatcher.
  static func headerMatchers(
    _ node: ConfigNode, _ diagnostics: Diagnostics
  ) -> UnsafeRawPointer? {
    let before = diagnostics.errorCount
    let matchers = HeaderMatchers(messages(node), at: node.path, diagnostics)
    guard diagnostics.errorCount == before else { return nil }
    return unsafe UnsafeRawPointer(Ref.configured(matchers).pointer)
  }

  /// An RBAC message.
  static func accessRules(_ node: ConfigNode, _ diagnostics: Diagnostics) -> UnsafeRawPointer? {
    let before = diagnostics.errorCount
    guard let message = try? AccessCompiler.Message(serializedBytes: node.serialized) else {
      return nil
    }
    let rules = AccessCompiler(diagnostics, hasHeads: true).compile(message, at: node.path)
    guard diagnostics.errorCount == before else { return nil }
    return unsafe UnsafeRawPointer(Ref.configured(rules).pointer)
  }

  /// A list of HeaderMutation, or of HeaderValueOption; which part it changes is in its name.
  static func headerMutations(
    _ node: ConfigNode, _ diagnostics: Diagnostics
  ) -> UnsafeRawPointer? {
    let before = diagnostics.errorCount
    let part: HeadPart = node.name.hasPrefix("response") ? .response : .request
    let isOptions = node.item(0)?.typeName == "envoy.config.core.v3.HeaderValueOption"
    let mutations =
      isOptions
      ? HeaderMutations(
        adding: messages(node), removing: [], of: part, at: node.path, prefix: "", diagnostics)
      : HeaderMutations(messages(node), of: part, at: node.path, diagnostics)
    guard diagnostics.errorCount == before else { return nil }
    return unsafe UnsafeRawPointer(Ref.configured(mutations).pointer)
  }

  private static func messages<Message: SwiftProtobuf.Message>(_ node: ConfigNode) -> [Message] {
    (0..<node.count).compactMap { index in
      node.item(index).flatMap { try? Message(serializedBytes: $0.serialized) }
    }
  }
}
