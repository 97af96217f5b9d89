import CFilterABI
import FilterSDK
import Testing

/// A filter with a loaded configuration, and the statistics of all its streams.
final class FilterRig {
  let table: UnsafePointer<fl_filter>
  let config: UnsafeMutableRawPointer
  private let loading: FakeConfig
  /// The route's configuration, then those of what is around it.
  private(set) var routeConfigs: [UnsafeMutableRawPointer] = []
  private var routeLoadings: [FakeConfig] = []
  var runtime: [String: Double] = [:]
  private(set) var statistics: [String: Int64] = [:]

  struct Refused: Error, Equatable {
    var errors: [String]
  }

  /// Loads a configuration, and those of a route and of what is around it; throws what the filter
  /// said against them.
  init(_ filter: FilterTable, _ document: Document = [:], routes: [Document] = []) throws {
    FakeHost.adopt()
    table = filter.table
    loading = FakeConfig(table)
    let loaded = table.pointee.load(loading.pointer, loading.add(document))
    guard loading.errors.isEmpty, let loaded else {
      if let loaded { table.pointee.unload(loaded) }
      throw Refused(errors: loading.errors)
    }
    config = loaded
    for route in routes {
      let loading = FakeConfig(table)
      routeLoadings.append(loading)
      let load = try #require(table.pointee.load_route)
      let loaded = load(loading.pointer, loading.add(route))
      if let loaded { routeConfigs.append(loaded) }
      guard loading.errors.isEmpty, loaded != nil else { throw Refused(errors: loading.errors) }
    }
  }

  convenience init(_ filter: FilterTable, _ document: Document = [:], route: Document?) throws {
    try self.init(filter, document, routes: route.map { [$0] } ?? [])
  }

  deinit {
    for config in routeConfigs { table.pointee.unload_route(config) }
    table.pointee.unload(config)
  }

  func stream() -> FakeStream { FakeStream(self) }

  /// A counter's or a gauge's value.
  subscript(statistic: String) -> Int64 { statistics[statistic] ?? 0 }

  func add(_ amount: Int64, to statistic: fl_stat) {
    statistics[Definitions.shared.statistics[Int(statistic)], default: 0] += amount
  }

  func runtimeValue(_ key: UInt32) -> Double {
    let (name, fallback) = Definitions.shared.runtimeKeys[Int(key)]
    return runtime[name] ?? fallback
  }
}
