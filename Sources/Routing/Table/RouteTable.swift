import Engine
import HTTPModel
import ResourceModel
import Resources

/// A compiled route configuration. Workers share it: nothing in it changes, nothing in it is
/// counted, and looking up a route neither allocates nor locks.
package struct RouteTable: BitwiseCopyable {
  /// One virtual host and its routes.
  struct Host: BitwiseCopyable {
    let virtualHost: Ref<VirtualHost>
    let index: RouteIndex
    let routes: Table<RouteEntry>
  }

  struct Root: BitwiseCopyable {
    let name: Bytes
    let index: VirtualHostIndex
    let hosts: Table<Host>
    let ignoresPathParameters: Bool
    /// Rewrites keep what they replace in `x-envoy-original-path` and `x-envoy-original-host`.
    let recordsOriginals: Bool
    let internalOnlyHeaders: Table<HeaderName>
    let filters: FilterConfigs
  }

  private let root: Ref<Root>

  init(_ root: Root) { self.root = .configured(root) }

  /// Compiles `configuration`, which stands at `path`. Mistakes go to `diagnostics`; with any of
  /// them the table is not fit for use.
  package static func compile(
    _ configuration: Envoy_Config_Route_V3_RouteConfiguration, at path: ConfigPath,
    _ options: RouteTableOptions, _ diagnostics: Diagnostics
  ) -> RouteTable {
    RouteCompiler(configuration, at: path, options, diagnostics).compile()
  }

  package var name: Bytes { root.value.name }

  /// A table in which nothing is found.
  package static var empty: RouteTable {
    compile(
      Envoy_Config_Route_V3_RouteConfiguration(), at: .root,
      unsafe RouteTableOptions(cluster: { _ in nil }), Diagnostics(files: []))
  }

  /// What becomes of a request.
  package enum Decision: BitwiseCopyable {
    /// 404, flag `NR`.
    case notFound
    /// The virtual host wants TLS: 301 to `writeTLSLocation`.
    case redirectToTLS
    case route(RouteMatch)
  }

  /// Finds the route of a request. `random` decides about shares and weights; it is one number for
  /// the life of the request, so that looking again decides the same.
  package func match(_ request: borrowing HeaderMap, random: UInt64) -> Decision {
    // CONNECT has no path, and no route without one.
    guard let path = request[.path],
      let position = root.value.index.find(request[.authority] ?? .empty)
    else { return .notFound }
    let host = root.value.hosts.handle(position)
    if Self.needsTLS(host.value.virtualHost.value.tlsRequirement, request) {
      return .redirectToTLS
    }
    let segments = path.withoutQuery
    let query = path.dropFirst(min(segments.count &+ 1, path.count))
    if root.value.ignoresPathParameters, segments.firstIndex(of: UInt8(ascii: ";")) != nil {
      return segments.withoutParameters { plain in
        find(in: host, request, RouteQuery(path: plain, query: query, random: random))
      }
    }
    return find(in: host, request, RouteQuery(path: segments, query: query, random: random))
  }

  private func find(
    in host: Ref<Host>, _ request: borrowing HeaderMap, _ query: RouteQuery
  ) -> Decision {
    let routes = host.value.routes
    let found =
      routes.count <= RouteIndex.fewRoutes
      ? firstOfFew(routes, request, query)
      : host.value.index.first(for: query.path) { position in
        routes.handle(position).value.conditions.accept(query, request)
      }
    guard let found else { return .notFound }
    let entry = routes.handle(found)
    var choice: Int?
    if case .forward(let action) = entry.value.action,
      case .weighted(let clusters) = action.value.target
    {
      choice = clusters.value.choose(request, random: query.random)
    }
    return .route(RouteMatch(root: root, entry: entry, choice: choice))
  }

  @inline(__always)
  private func firstOfFew(
    _ routes: Table<RouteEntry>, _ request: borrowing HeaderMap, _ query: RouteQuery
  ) -> Int? {
    var position = 0
    while position < routes.count {
      let route = routes.handle(position)
      if route.value.conditions.mayMatch(query.path),
        route.value.conditions.accept(query, request)
      {
        return position
      }
      position &+= 1
    }
    return nil
  }

  @inline(__always)
  private static func needsTLS(
    _ requirement: VirtualHost.TLSRequirement, _ request: borrowing HeaderMap
  ) -> Bool {
    switch requirement {
    case .none: return false
    case .external where request[.envoyInternal].map { $0 == "true" } ?? false: return false
    case .all, .external:
      // What the connection was, and not what a request in absolute form said.
      guard let scheme = request[.xForwardedProto] ?? request[.scheme] else { return true }
      return !(scheme == "https")
    }
  }

  /// Removes `internal_only_headers` of a request from outside.
  package func removeInternalOnlyHeaders(from headers: inout HeaderMap) {
    var index = 0
    while index < root.value.internalOnlyHeaders.count {
      headers.remove(root.value.internalOnlyHeaders[index].text)
      index &+= 1
    }
  }

  /// Writes `location` for `.redirectToTLS`.
  package static func writeTLSLocation(
    of request: borrowing HeaderMap, into writer: inout ByteWriter
  ) {
    RedirectAction.writeTLSLocation(of: request, into: &writer)
  }
}

extension Bytes {
  /// Lends a path without the parameters of its segments (`/a;v=1/b` becomes `/a/b`).
  fileprivate func withoutParameters<Result>(_ body: (Bytes) -> Result) -> Result {
    // SAFETY: the memory is lent for the call alone, and no more is written than the path has.
    unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: count) { buffer in
      guard let base = buffer.baseAddress else { return body(.empty) }
      var writer = unsafe ByteWriter(base: base, capacity: count)
      var isParameter = false
      var index = 0
      while index < count {
        if self[index] == UInt8(ascii: "/") { isParameter = false }
        if self[index] == UInt8(ascii: ";") { isParameter = true }
        if !isParameter { writer.append(self[index]) }
        index &+= 1
      }
      return body(writer.written)
    }
  }
}
