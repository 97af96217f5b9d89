import Engine
import ResourceModel
import Resources
import Routing

/// Compiles route configurations for one connection manager: what they say of HTTP filters is for its
/// chain to understand.
struct RouteTableCompiler {
  typealias Message = Envoy_Config_Route_V3_RouteConfiguration

  let filters: [LoadedFilter]
  let router: Envoy_Extensions_Filters_Http_Router_V3_Router
  /// `http.<stat_prefix>.`
  let managerScope: String

  /// Not fit for use when errors were reported.
  /// - Parameter context: that of the document in which the routes stand.
  func compile(_ message: Message, at path: ConfigPath, _ context: CompileContext) -> RouteTable {
    let chains = ChainCompiler(context: context, managerScope: managerScope)
    let filters = self.filters
    let options = unsafe RouteTableOptions(
      cluster: { name in
        // A cluster that is not there may come, and be found without a new table.
        let place = context.places.hold(name)
        ResourceMemory.atEnd { context.places.release(place) }
        return UInt32(truncatingIfNeeded: place)
      },
      filterNames: filters.map(\.name),
      filterConfig: { name, place, _ in
        guard let filter = filters.first(where: { $0.name == name }),
          let node = context.tree.node(at: place)
        else { return nil }
        guard let table = unsafe filter.routeTable else {
          context.diagnostics.error(
            at: place,
            "'\(name)' has several type_urls: which of them this is for is not known here")
          return nil
        }
        guard let config = unsafe chains.makeLoad(table).loadRoute(node) else { return nil }
        return UnsafeRawPointer(config)
      },
      runtime: context.layers.snapshot,
      respectsExpectedTimeout: router.respectExpectedRqTimeout,
      suppressesEnvoyHeaders: router.suppressEnvoyHeaders)
    return RouteTable.compile(message, at: path, options, context.diagnostics)
  }
}
