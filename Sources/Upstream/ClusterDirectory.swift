import Engine

/// The names of all clusters and their places. Immutable; read by every worker.
package struct ClusterDirectory: BitwiseCopyable {
  private struct Slot: BitwiseCopyable {
    var name = Bytes.empty
    /// The place plus one; zero is a free slot.
    var place: UInt32 = 0
  }

  /// Open addressing, at most half full, so that a search for a name that a request brings
  /// (`cluster_header`) ends soon.
  private let slots: Table<Slot>

  /// - Parameter clusters: the names have to last as long as the directory.
  package init(_ clusters: [(name: Bytes, place: Int)]) {
    var size = 8
    while size < clusters.count * 2 { size *= 2 }
    var slots = [Slot](repeating: Slot(), count: size)
    for (name, place) in clusters {
      var slot = Self.hash(name) & (size - 1)
      while slots[slot].place != 0 { slot = (slot + 1) & (size - 1) }
      slots[slot] = Slot(name: name, place: UInt32(place + 1))
    }
    self.slots = .configured(slots)
  }

  /// The place of the cluster of this name.
  package func find(_ name: Bytes) -> Int? {
    var slot = Self.hash(name) & (slots.count &- 1)
    while slots[slot].place != 0 {
      if slots[slot].name == name { return Int(slots[slot].place) &- 1 }
      slot = (slot &+ 1) & (slots.count &- 1)
    }
    return nil
  }

  package func find(_ name: String) -> Int? { Bytes.with(name) { find($0) } }

  /// FNV-1a. The names in the table are the operator's, so nobody can choose them to collide.
  private static func hash(_ name: Bytes) -> Int {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    var index = 0
    while index < name.count {
      hash = (hash ^ UInt64(name[index])) &* 0x100_0000_01B3
      index &+= 1
    }
    return Int(truncatingIfNeeded: (hash ^ (hash >> 32)) & 0x7FFF_FFFF)
  }
}
