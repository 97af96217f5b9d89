import CFilterABI
import FilterSDK
import Testing

/// A filter with a loaded configuration, and the statistics of all its streams.
final class FilterRig {
  let table: UnsafePointer<fl_filter>
  let config: UnsafeMutableRawPointer
  private let loading: FakeConfig
  private(set) var routeConfig: UnsafeMutableRawPointer?
  private var routeLoading: FakeConfig?
  var runtime: [String: Double] = [:]
  private(set) var statistics: [String: Int64] = [:]

  struct Refused: Error, Equatable {
    var errors: [String]
  }

  /// Loads a configuration, and one of a route; throws what the filter said against them.
  init(_ filter: FilterTable, _ document: Document = [:], route: Document? = nil) throws {
    FakeHost.adopt()
    table = filter.table
    loading = FakeConfig(table)
    let loaded = table.pointee.load(loading.pointer, loading.add(document))
    guard loading.errors.isEmpty, let loaded else { throw Refused(errors: loading.errors) }
    config = loaded
    guard let route else { return }
    let routeLoading = FakeConfig(table)
    self.routeLoading = routeLoading
    let load = try #require(table.pointee.load_route)
    routeConfig = load(routeLoading.pointer, routeLoading.add(route))
    guard routeLoading.errors.isEmpty, routeConfig != nil else {
      throw Refused(errors: routeLoading.errors)
    }
  }

  deinit {
    if let routeConfig { table.pointee.unload_route(routeConfig) }
    table.pointee.unload(config)
  }

  func stream() -> FakeStream { FakeStream(self) }

  /// A counter's or a gauge's value.
  subscript(statistic: String) -> Int64 { statistics[statistic] ?? 0 }

  /// A route's own statistics and runtime keys are not told apart from the chain's here: a rig with
  /// a route defines them in the same order twice.
  func add(_ amount: Int64, to statistic: fl_stat) {
    statistics[loading.statistics[Int(statistic)], default: 0] += amount
  }

  func runtimeValue(_ key: UInt32) -> Double {
    let (name, fallback) = loading.runtimeKeys[Int(key)]
    return runtime[name] ?? fallback
  }
}
