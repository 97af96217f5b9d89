import CFilterABI
import Engine
import Resources
import Routing
import Telemetry

/// One filter's configuration while it is loaded: what `fl_config *` points to.
@safe
final class FilterLoad {
  let tree: ConfigTree
  let diagnostics: Diagnostics
  let store: StatsStore
  let runtime: RuntimeBuilder
  let table: UnsafePointer<fl_filter>
  /// `http.<stat_prefix>.`
  let managerScope: String
  private(set) var failed = false

  init(
    table: UnsafePointer<fl_filter>, tree: ConfigTree, diagnostics: Diagnostics,
    store: StatsStore, runtime: RuntimeBuilder, managerScope: String
  ) {
    unsafe self.table = table
    self.tree = tree
    self.diagnostics = diagnostics
    self.store = store
    self.runtime = runtime
    self.managerScope = managerScope
  }

  func node(_ number: fl_node) -> ConfigNode? { number == 0 ? nil : tree.node(id: Int(number) - 1) }

  static func number(of node: ConfigNode?) -> fl_node {
    node.map { fl_node(truncatingIfNeeded: $0.id + 1) } ?? 0
  }

  func fail(at node: ConfigNode?, _ message: String) {
    failed = true
    if let node {
      diagnostics.error(at: node, message)
    } else {
      diagnostics.error(at: .root, message)
    }
  }

  /// Calls a filter's `load` for a node, or for no node, where every field has its default. nil when
  /// it refused, with at least one error reported.
  func load(_ node: ConfigNode?) -> UnsafeMutableRawPointer? {
    guard let load = unsafe table.pointee.load else { return nil }
    return unsafe finish(
      node, unsafe load(opaque, Self.number(of: node)), unload: table.pointee.unload)
  }

  /// The same for a route's configuration of the filter.
  func loadRoute(_ node: ConfigNode) -> UnsafeMutableRawPointer? {
    guard let load = unsafe table.pointee.load_route else {
      fail(at: node, "this filter takes no configuration per route")
      return nil
    }
    return unsafe finish(
      node, unsafe load(opaque, Self.number(of: node)), unload: table.pointee.unload_route)
  }

  private var opaque: OpaquePointer {
    unsafe OpaquePointer(Unmanaged.passUnretained(self).toOpaque())
  }

  private func finish(
    _ node: ConfigNode?, _ config: UnsafeMutableRawPointer?,
    unload: (@convention(c) (UnsafeMutableRawPointer?) -> Void)?
  ) -> UnsafeMutableRawPointer? {
    if let config = unsafe config, let unload = unsafe unload {
      ResourceMemory.atEnd { unsafe unload(config) }
    }
    if unsafe config == nil, !failed {
      fail(at: node, "the filter refused its configuration without a reason")
    }
    return failed ? nil : unsafe config
  }
}

/// The functions of the filter door that are called while a configuration is loaded. Off the request
/// path: written for comfort.
enum FilterLoading {
  private static func load(_ raw: OpaquePointer?) -> FilterLoad? {
    guard let raw = unsafe raw else { return nil }
    return unsafe Unmanaged<FilterLoad>.fromOpaque(UnsafeRawPointer(raw)).takeUnretainedValue()
  }

  private static func node(_ raw: OpaquePointer?, _ number: fl_node) -> ConfigNode? {
    unsafe load(raw)?.node(number)
  }

  /// Text for a filter to keep as long as its configuration.
  private static func lend(_ text: String?) -> fl_bytes {
    guard let text, !text.isEmpty else { return unsafe Bytes.empty.abi }
    return unsafe Bytes.configured(text).abi
  }

  static func fill(_ host: inout fl_host) {
    fillNodes(&host)
    fillDefinitions(&host)
  }

  private static func fillNodes(_ host: inout fl_host) {
    unsafe host.node_kind = { raw, number in
      switch unsafe FilterLoading.node(raw, number)?.kind {
      case .bool: FL_NODE_BOOL
      case .number: FL_NODE_NUMBER
      case .string, .enumeration, .bytes: FL_NODE_STRING
      case .list: FL_NODE_LIST
      case .message, .map: FL_NODE_MESSAGE
      case .duration: FL_NODE_DURATION
      default: FL_NODE_NULL
      }
    }
    unsafe host.node_field = { raw, number, name in
      FilterLoad.number(
        of: unsafe FilterLoading.node(raw, number)?.field(Bytes(name).string))
    }
    unsafe host.node_count = { raw, number in unsafe FilterLoading.node(raw, number)?.count ?? 0 }
    unsafe host.node_item = { raw, number, index in
      FilterLoad.number(of: unsafe FilterLoading.node(raw, number)?.item(index))
    }
    unsafe host.node_key = { raw, number, index in
      unsafe FilterLoading.lend(unsafe FilterLoading.node(raw, number)?.item(index)?.name)
    }
    unsafe host.node_bool = { raw, number in
      unsafe FilterLoading.node(raw, number)?.boolValue ?? false
    }
    unsafe host.node_number = { raw, number in
      unsafe FilterLoading.node(raw, number)?.numberValue ?? 0
    }
    unsafe host.node_string = { raw, number in
      guard let node = unsafe FilterLoading.node(raw, number) else { return unsafe Bytes.empty.abi }
      if let bytes = node.bytesValue {
        return unsafe FilterLoading.lend(String(decoding: bytes, as: UTF8.self))
      }
      return unsafe FilterLoading.lend(node.stringValue)
    }
    unsafe host.node_duration_ns = { raw, number in
      UInt64(clamping: unsafe FilterLoading.node(raw, number)?.durationNanoseconds ?? 0)
    }
    unsafe host.node_type = { raw, number in
      unsafe FilterLoading.lend(unsafe FilterLoading.node(raw, number)?.typeName)
    }
    unsafe host.node_error = { raw, number, message in
      let load = unsafe FilterLoading.load(raw)
      load?.fail(at: load?.node(number), unsafe Bytes(message).string)
    }
  }

  private static func fillDefinitions(_ host: inout fl_host) {
    unsafe host.filter_table = { raw in unsafe FilterLoading.load(raw)?.table }
    unsafe host.define_counter = { raw, scope, name in
      guard let load = unsafe FilterLoading.load(raw) else { return UInt32.max }
      return load.store.counter(load.name(scope, unsafe Bytes(name))).index
    }
    unsafe host.define_gauge = { raw, scope, name in
      guard let load = unsafe FilterLoading.load(raw) else { return UInt32.max }
      return load.store.gauge(load.name(scope, unsafe Bytes(name))).index
    }
    unsafe host.define_histogram = { raw, scope, name in
      guard let load = unsafe FilterLoading.load(raw) else { return UInt32.max }
      return load.store.histogram(load.name(scope, unsafe Bytes(name))).index
    }
    unsafe host.define_runtime = { raw, key, fallback in
      unsafe FilterLoading.load(raw)?.runtime.define(Bytes(key).string, fallback) ?? UInt32.max
    }
    unsafe host.load_retry_policy = { raw, number in
      guard let load = unsafe FilterLoading.load(raw), let node = load.node(number) else {
        return nil
      }
      return unsafe PolicyCompiler.retryPolicy(node, load.diagnostics)
    }
    unsafe host.load_field_names = { raw, names, count in
      guard unsafe FilterLoading.load(raw) != nil, let names = unsafe names else { return nil }
      var list: [HeaderName] = []
      for index in 0..<count { unsafe list.append(HeaderName(Bytes(names[index]).string)) }
      return unsafe UnsafeRawPointer(Ref.configured(FieldNameSet(list)).raw)
    }
    unsafe host.load_header_matchers = { raw, number in
      guard let load = unsafe FilterLoading.load(raw), let node = load.node(number) else {
        return nil
      }
      return unsafe PolicyCompiler.headerMatchers(node, load.diagnostics)
    }
    unsafe host.load_access_rules = { raw, number in
      guard let load = unsafe FilterLoading.load(raw), let node = load.node(number) else {
        return nil
      }
      return unsafe PolicyCompiler.accessRules(node, load.diagnostics)
    }
    unsafe host.load_header_mutations = { raw, number in
      guard let load = unsafe FilterLoading.load(raw), let node = load.node(number) else {
        return nil
      }
      return unsafe PolicyCompiler.headerMutations(node, load.diagnostics)
    }
  }
}

extension FilterLoad {
  fileprivate func name(_ scope: fl_scope, _ name: Bytes) -> String {
    scope == FL_SCOPE_CONNECTION_MANAGER ? managerScope + name.string : name.string
  }
}

/// Numbers of the runtime layers that filters ask for, resolved while the configuration loads.
final class RuntimeBuilder {
  /// The merged layers: a later one wins.
  let values: [String: Double]
  private var resolved: [Double] = []
  private var places: [String: UInt32] = [:]

  init(values: [String: Double]) { self.values = values }

  /// The place of a key: what the layers say, or its default.
  func define(_ key: String, _ fallback: Double) -> UInt32 {
    if let place = places[key], resolved[Int(place)] == values[key] ?? fallback { return place }
    let place = UInt32(truncatingIfNeeded: resolved.count)
    resolved.append(values[key] ?? fallback)
    places[key] = place
    return place
  }

  func freeze() -> RuntimeValues { RuntimeValues(.configured(resolved)) }
}

/// The resolved numbers, as workers read them.
struct RuntimeValues: BitwiseCopyable {
  private let values: Table<Double>

  init(_ values: Table<Double>) { self.values = values }

  func number(_ place: UInt32) -> Double {
    place < values.count ? values[Int(place)] : 0
  }
}
