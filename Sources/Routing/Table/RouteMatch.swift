import Engine
import HTTPModel
import Telemetry

/// The route of one request, and which of its weighted clusters was chosen: a few words that may be
/// copied at will and stay valid as long as the table.
package struct RouteMatch: BitwiseCopyable {
  private let root: Ref<RouteTable.Root>
  package let entry: Ref<RouteEntry>
  private let choice: Int?

  init(root: Ref<RouteTable.Root>, entry: Ref<RouteEntry>, choice: Int?) {
    self.root = root
    self.entry = entry
    self.choice = choice
  }

  package var virtualHost: Ref<VirtualHost> { entry.value.virtualHost }

  package var routeConfigurationName: Bytes { root.value.name }

  // MARK: Where to

  /// Where the request is forwarded to.
  package enum Cluster: BitwiseCopyable {
    case reference(ClusterReference)
    /// The first value of this field names it; there is no such cluster when there is none.
    case named(by: HeaderName)
  }

  /// The cluster, of a route that forwards.
  package var cluster: Cluster? {
    guard case .forward(let action) = entry.value.action else { return nil }
    switch weighted?.value.target ?? action.value.target {
    case .cluster(let reference): return .reference(reference)
    case .header(let name): return .named(by: name)
    case .weighted: return nil
    }
  }

  private var weighted: Ref<WeightedClusters.Choice>? {
    guard let choice, case .forward(let action) = entry.value.action,
      case .weighted(let clusters) = action.value.target
    else { return nil }
    return clusters.value.choices.handle(choice)
  }

  // MARK: Filters

  /// Some level says something about a filter.
  package var hasFilterConfigs: Bool {
    root.value.filters.isUsed || virtualHost.value.filters.isUsed || entry.value.filters.isUsed
      || weighted?.value.filters.isUsed == true
  }

  /// The most specific configuration of the filter in this slot; nil when no level has one.
  package func filterConfig(slot: Int) -> UnsafeRawPointer? {
    if let weighted, let config = unsafe weighted.value.filters[slot].config {
      return unsafe config
    }
    if let config = unsafe entry.value.filters[slot].config { return unsafe config }
    if let config = unsafe virtualHost.value.filters[slot].config { return unsafe config }
    return unsafe root.value.filters[slot].config
  }

  /// Every level's configuration of the filter in this slot, from the least specific on.
  package func forEachFilterConfig(slot: Int, _ body: (UnsafeRawPointer) -> Void) {
    if let config = unsafe root.value.filters[slot].config { unsafe body(config) }
    if let config = unsafe virtualHost.value.filters[slot].config { unsafe body(config) }
    if let config = unsafe entry.value.filters[slot].config { unsafe body(config) }
    if let weighted, let config = unsafe weighted.value.filters[slot].config {
      unsafe body(config)
    }
  }

  /// Whether the filter in this slot is off here: what the most specific level that mentions it
  /// says, or nil when none does.
  package func isFilterDisabled(slot: Int) -> Bool? {
    if let weighted, weighted.value.filters[slot].isPresent {
      return weighted.value.filters[slot].isDisabled
    }
    if entry.value.filters[slot].isPresent {
      return entry.value.filters[slot].isDisabled
    }
    if virtualHost.value.filters[slot].isPresent {
      return virtualHost.value.filters[slot].isDisabled
    }
    let outer = root.value.filters[slot]
    return outer.isPresent ? outer.isDisabled : nil
  }

  // MARK: Changing the heads

  /// Makes the request what the upstream shall see: the levels' header changes, then the host,
  /// then the path. False when the new path is longer than any head may be.
  package func prepareRequest<Source: LogSource>(
    _ headers: inout HeaderMap, _ source: Source, renderer: LogRenderer, pool: inout BlockPool
  ) -> Bool {
    if choice == nil, entry.value.leavesRequest { return true }
    if let weighted {
      weighted.value.requestMutations.apply(to: &headers, source, renderer, pool: &pool)
      if let host = weighted.value.hostRewrite { headers.set(.authority, host, from: &pool) }
    }
    apply(entry.value.requestMutations, to: &headers, source, renderer, pool: &pool)
    guard case .forward(let action) = entry.value.action else { return true }
    action.value.hostRewrite.apply(
      to: &headers, appendsForwardedHost: action.value.appendsForwardedHost,
      recordsOriginal: root.value.recordsOriginals, pool: &pool)
    return rewritePath(of: &headers, pool: &pool)
  }

  /// The header changes for the way back, for local replies after routing too.
  package func prepareResponse<Source: LogSource>(
    _ headers: inout HeaderMap, _ source: Source, renderer: LogRenderer, pool: inout BlockPool
  ) {
    if choice == nil, entry.value.responseMutations.isEmpty { return }
    if let weighted {
      weighted.value.responseMutations.apply(to: &headers, source, renderer, pool: &pool)
    }
    apply(entry.value.responseMutations, to: &headers, source, renderer, pool: &pool)
  }

  private func apply<Source: LogSource>(
    _ levels: Table<HeaderMutations>, to headers: inout HeaderMap, _ source: Source,
    _ renderer: LogRenderer, pool: inout BlockPool
  ) {
    var index = 0
    while index < levels.count {
      levels[index].apply(to: &headers, source, renderer, pool: &pool)
      index &+= 1
    }
  }

  /// Sets `:authority` to the name of the chosen host, for a route with `auto_host_rewrite`.
  /// `host` must not be a view into `headers`.
  package func rewriteHost(
    of headers: inout HeaderMap, to host: Bytes, pool: inout BlockPool
  ) {
    guard case .forward(let action) = entry.value.action,
      case .automatic = action.value.hostRewrite, !host.isEmpty
    else { return }
    HostRewrite.replaceAuthority(
      of: &headers, with: host, appendsForwardedHost: action.value.appendsForwardedHost,
      recordsOriginal: root.value.recordsOriginals, pool: &pool)
  }

  /// Rewrites the path, of routes that answer themselves too: `location` is made from it. False
  /// when the new path is longer than any head may be.
  package func rewritePath(of headers: inout HeaderMap, pool: inout BlockPool) -> Bool {
    let rewrite: PathRewrite
    switch entry.value.action {
    case .forward(let action): rewrite = action.value.pathRewrite
    case .redirect(let action): rewrite = action.value.pathRewrite
    case .respond: return true
    }
    return rewrite.apply(
      matchedBy: entry.value.conditions.pattern, to: &headers,
      recordsOriginal: root.value.recordsOriginals, pool: &pool)
  }

  /// Writes `location` for a request whose path was rewritten. False when the answer has none.
  package func writeLocation(
    for headers: borrowing HeaderMap, into writer: inout ByteWriter
  ) -> Bool {
    switch entry.value.action {
    case .forward: return false
    case .redirect(let action):
      action.value.writeLocation(for: headers, into: &writer)
      return true
    case .respond(let response):
      // Statuses that want one get the request's own.
      let status = response.value.status
      guard status == 201 || (300...399).contains(status) else { return false }
      RedirectAction.writeOwnLocation(of: headers, into: &writer)
      return true
    }
  }
}
