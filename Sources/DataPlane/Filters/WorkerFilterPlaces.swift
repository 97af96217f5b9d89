import CFilterABI
import Engine

/// What the filters of all connection managers keep on one worker, by the managers' places.
struct WorkerFilterPlaces {
  private var tables: [Table<Ref<FilterWorker>>] = []
  /// What each table is laid out in.
  private var memories: [ResourceMemory?] = []

  /// What a filter keeps; nil when it keeps nothing.
  func state(manager place: Int, filter index: Int) -> UnsafeMutableRawPointer? {
    guard tables.indices.contains(place), index < tables[place].count else { return nil }
    return unsafe tables[place][index].value.state
  }

  mutating func set(_ table: Table<Ref<FilterWorker>>, _ memory: ResourceMemory, at place: Int) {
    while tables.count <= place {
      tables.append(.empty)
      memories.append(nil)
    }
    tables[place] = table
    memories[place] = memory
  }

  /// The manager is no more.
  mutating func remove(_ place: Int) {
    guard tables.indices.contains(place) else { return }
    tables[place] = .empty
    memories[place] = nil
  }
}

extension Ref where Value == Worker {
  /// Lets the filters of a connection manager begin on this worker. Its thread, or before that runs.
  func addFilterPlaces(of manager: CompiledManager) {
    let memory = ResourceMemory()
    let table = memory.whileOpen { FilterWorkers.make(manager.filters, on: self) }
    value.filterPlaces.set(table, memory, at: manager.place)
  }

  /// Lets a filter whose configuration has come by itself begin on this worker. Its thread.
  func addFilterPlace(of filter: LoadedFilter) {
    guard let place = filter.ownPlace else { return }
    let memory = ResourceMemory()
    let table = memory.whileOpen { FilterWorkers.make([filter], on: self) }
    value.discoveredFilterPlaces.set(table, memory, at: place)
  }
}
