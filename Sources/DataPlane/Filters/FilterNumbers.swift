import Engine

extension Ref where Value == DownstreamConnection {
  /// A filter's number on a connection.
  private struct Entry: BitwiseCopyable {
    var number: UInt64
    /// The serial of the configuration that asked for it last; 0: none has.
    var serial: UInt32
  }

  /// The number that the filter at `index` keeps for as long as the connection. Memory for all of
  /// the chain's is taken when the first of them is asked for; nil for a chain that is longer than a
  /// block has room for. A configuration that takes another's place begins afresh.
  func filterNumber(
    _ index: Int, serial: UInt32, first: UInt64
  ) -> UnsafeMutablePointer<UInt64>? {
    let count = manager.value.chain.value.count
    precondition(index >= 0 && index < count, "a filter of the chain")
    let size = count * MemoryLayout<Entry>.stride
    guard size <= BlockPool.largest else { return nil }
    let block = value.filterNumbers ?? loop.state.value.blocks.take(max(size, BlockPool.smallest))
    // SAFETY: the block has room for an entry of each filter, aligned as malloc aligns, and stays
    // until the connection is closed, which ends its streams first.
    let entries = unsafe UnsafeMutableRawPointer(block.base)
      .bindMemory(to: Entry.self, capacity: count)
    if value.filterNumbers == nil {
      unsafe entries.initialize(repeating: Entry(number: 0, serial: 0), count: count)
      value.filterNumbers = block
    }
    let entry = unsafe entries + index
    if unsafe entry.pointee.serial != serial {
      unsafe entry.pointee = Entry(number: first, serial: serial)
    }
    // The number stands first in its entry.
    return unsafe UnsafeMutableRawPointer(entry).assumingMemoryBound(to: UInt64.self)
  }
}
