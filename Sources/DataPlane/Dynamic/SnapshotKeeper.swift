import Engine
import Routing
import Upstream

/// The main thread's side of snapshots: knows what the latest consists of, hands a new one to every
/// worker when something has changed, and keeps what each consists of until all workers have let go.
///
/// Versions of resources are objects of the main thread: what nobody refers to any more, neither the
/// latest configuration nor a snapshot that is still in use, is freed by its `deinit`.
final class SnapshotKeeper {
  /// A snapshot that some worker may still use.
  private struct Live {
    let memory: ResourceMemory
    let routes: [RouteVersion?]
    let chains: [HTTPChainVersion?]
    let clusters: [ActiveCluster.InUse?]
    /// Workers that have not let go.
    var holders: Int
  }

  private unowned let server: Server
  /// By the places of connection managers.
  private(set) var routes: [RouteVersion?] = []
  /// The same; empty as long as no manager has a chain that is not its own.
  private var chains: [HTTPChainVersion?] = []
  private var live: [UInt64: Live] = [:]
  private var latest: UInt64 = 0
  private var isScheduled = false
  let noRoutes: RouteTable

  init(_ server: Server) {
    self.server = server
    noRoutes = RouteTable.empty
  }

  /// How many snapshots are kept because some worker still uses them, the latest among them.
  var liveCount: Int { live.count }

  /// Gives a connection manager its route table. It counts from the next snapshot on.
  func setRoutes(_ version: RouteVersion?, of place: Int) {
    while routes.count <= place { routes.append(nil) }
    routes[place] = version
  }

  /// Gives a connection manager its chain of HTTP filters; nil: its own. It counts from the next snapshot
  /// on.
  func setChain(_ version: HTTPChainVersion?, of place: Int) {
    guard version != nil || place < chains.count else { return }
    while chains.count <= place { chains.append(nil) }
    chains[place] = version
  }

  /// Clusters that are no longer in use as far as the next snapshot is concerned.
  private var leaving: [[Ref<ClusterView>]] = []

  /// The snapshots that the workers begin with, before their threads run.
  func makeFirst(_ clusters: ClusterManager, workers: Int) -> [Ref<Snapshot>] {
    make(clusters, workers: workers)
  }

  /// The next snapshot no longer has these clusters: their connections are closed as they fall idle.
  func clustersChanged(without left: [ActiveCluster]) {
    leaving += left.map(\.views)
    publishLater()
  }

  /// Hands out a new snapshot when the main thread's turn is over: whatever changed in one turn,
  /// workers see together.
  func publishLater() {
    guard !isScheduled else { return }
    isScheduled = true
    // SAFETY: the server keeps this object as long as its loop runs.
    unsafe server.loop.later(context: Unmanaged.passUnretained(self).toOpaque()) { raw, _ in
      unsafe Unmanaged<SnapshotKeeper>.fromOpaque(raw).takeUnretainedValue().publish()
    }
  }

  /// Hands out a new snapshot at once, for what is posted behind it.
  func publishNow() { publish() }

  private func publish() {
    isScheduled = false
    guard let clusters = server.clusters else { return }
    let snapshots = make(clusters, workers: server.links.count)
    let left = leaving
    leaving = []
    for (index, link) in server.links.enumerated() {
      let handle = WorkerHandle(server.workers[index])
      let snapshot = SnapshotHandle(ref: snapshots[index])
      let views = left.map { ViewHandle(ref: $0[index]) }
      link.mailbox.post { _ in
        handle.worker.adopt(snapshot.ref)
        for view in views { handle.worker.drainPools(of: view.ref) }
      }
    }
  }

  private func make(_ clusters: ClusterManager, workers: Int) -> [Ref<Snapshot>] {
    latest += 1
    let active = clusters.active
    let memory = ResourceMemory()
    let snapshots = memory.whileOpen {
      let tables = Table.configured(routes.map { $0?.table ?? noRoutes })
      let ownChains = Table.configured(chains.map { $0?.chain })
      let runtime = server.config.runtime.freeze()
      let directory = ClusterDirectory(
        active.enumerated().compactMap { place, cluster in
          cluster.map { ($0.config.value.name, place) }
        })
      let responseFields = active.map { $0?.config.value.http.maxResponseHeaders ?? 0 }
      let maxFields = max(server.maxRequestFields, responseFields.max() ?? 0)
      return (0..<workers).map { worker in
        Ref<Snapshot>.configured(
          Snapshot(
            version: latest, routes: tables,
            chains: ownChains,
            clusters: .configured(active.map { $0?.views[worker] }), directory: directory,
            runtime: runtime, maxFields: maxFields))
      }
    }
    live[latest] = Live(
      memory: memory, routes: routes, chains: chains, clusters: active.map { $0?.inUse },
      holders: workers)
    return snapshots
  }

  /// A worker has let go of a snapshot that it has a later one for.
  func released(_ version: UInt64) {
    guard let holders = live[version]?.holders else { return }
    guard holders > 1 else {
      live[version] = nil
      return
    }
    live[version]?.holders = holders - 1
  }
}

/// A worker's view of a cluster on its way to the worker.
///
/// `@unchecked`: opened only in a message to that worker; the cluster is kept until it has let go.
private struct ViewHandle: @unchecked Sendable {
  let ref: Ref<ClusterView>
}

/// A snapshot on its way to its worker.
///
/// `@unchecked`: the main thread makes it and hands it over; only the worker uses it from then on.
private struct SnapshotHandle: @unchecked Sendable {
  let ref: Ref<Snapshot>
}
