import CFilterABI
import Engine

/// One version of an HTTP filter's configuration that has come by itself, loaded for one connection
/// manager. Main thread; the configuration is read by every worker for as long as this object lives.
final class FilterVersion {
  let filter: LoadedFilter
  private let memory: ResourceMemory
  /// A filter may hold on to what it was loaded with.
  private let context: CompileContext
  private weak var server: Server?

  init(
    _ filter: LoadedFilter, in memory: ResourceMemory, _ context: CompileContext,
    for server: Server
  ) {
    self.filter = filter
    self.memory = memory
    self.context = context
    self.server = server
  }

  deinit {
    guard let place = filter.ownPlace, let server else { return }
    // What workers keep of it refers to it: that goes first.
    server.onEveryWorker { worker in
      worker.value.discoveredFilterPlaces.remove(place)
    } then: { [memory, context] in
      withExtendedLifetime((memory, context)) {}
    }
  }
}

/// One version of a connection manager's HTTP filters, some of whose configurations have come by
/// themselves. Main thread; the chain is read by every worker for as long as this object lives.
final class HTTPChainVersion {
  let chain: Ref<FilterChain>
  private let memory = ResourceMemory()
  /// What it consists of.
  private let filters: [FilterVersion]
  private let managerMemory: ResourceMemory?

  init(of manager: CompiledManager, with versions: [Int: FilterVersion]) {
    var loaded = manager.filters
    for (index, version) in versions { loaded[index] = version.filter }
    filters = Array(versions.values)
    managerMemory = manager.memory
    chain = memory.whileOpen { Ref.configured(ChainCompiler.layOut(loaded)) }
  }
}

/// The HTTP filters of a connection manager whose configurations come by themselves. Main thread.
///
/// A chain is put together anew whenever one of them changes: streams that begin from then on have it,
/// those under way keep what they began with, and the other filters what they count and keep.
final class FollowedChain {
  let manager: CompiledManager
  private var versions: [Int: FilterVersion] = [:]
  private unowned let server: Server

  init(_ manager: CompiledManager, for server: Server) {
    self.manager = manager
    self.server = server
  }

  /// Gives the filter at a place its configuration; nil: what goes as long as there is none.
  func set(_ version: FilterVersion?, at index: Int) {
    guard version != nil || versions[index] != nil else { return }
    versions[index] = version
    if let version {
      for (worker, link) in zip(server.workers, server.links) {
        let addition = FilterAddition(worker: worker, filter: version.filter)
        link.mailbox.post { _ in addition.apply() }
      }
    }
    server.snapshots.setChain(
      versions.isEmpty ? nil : HTTPChainVersion(of: manager, with: versions), of: manager.place)
    server.snapshots.publishLater()
  }

  /// The connection manager is no more.
  func end() {
    versions = [:]
    server.snapshots.setChain(nil, of: manager.place)
  }
}

/// A filter on its way to a worker.
///
/// `@unchecked`: made by the main thread and opened only by the worker's.
private struct FilterAddition: @unchecked Sendable {
  let worker: Ref<Worker>
  let filter: LoadedFilter

  /// The worker's thread.
  func apply() { worker.addFilterPlace(of: filter) }
}
