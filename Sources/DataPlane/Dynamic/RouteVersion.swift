import Engine
import Routing

/// One version of one connection manager's route table. Main thread; the table itself is read by every
/// worker for as long as this object lives.
final class RouteVersion {
  let table: RouteTable
  /// What the table is made of; nil when it belongs to its listener's memory.
  private let memory: ResourceMemory?

  init(_ table: RouteTable, memory: ResourceMemory? = nil) {
    self.table = table
    self.memory = memory
  }
}
