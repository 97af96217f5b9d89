import Engine
import Routing

/// One version of one connection manager's route table. Main thread; the table itself is read by every
/// worker for as long as this object lives.
final class RouteVersion {
  let table: RouteTable
  /// What the table, and the connection manager that it is for, are laid out in.
  private let memories: [ResourceMemory]

  init(_ table: RouteTable, memories: ResourceMemory?...) {
    self.table = table
    self.memories = memories.compactMap(\.self)
  }
}
