import Engine

/// All clusters of a configuration, by place and by name. Immutable; read by every worker.
package struct ClusterDirectory: BitwiseCopyable {
  package let clusters: Table<Ref<ClusterConfig>>
  /// Places plus one, open addressing; zero is a free slot. At most half full, so that a search for
  /// a name that a request brings (`cluster_header`) ends soon.
  private let slots: Table<UInt32>

  init(_ clusters: [Ref<ClusterConfig>]) {
    self.clusters = .configured(clusters)
    var size = 8
    while size < clusters.count * 2 { size *= 2 }
    var slots = [UInt32](repeating: 0, count: size)
    for (index, cluster) in clusters.enumerated() {
      var slot = Self.hash(cluster.value.name) & (size - 1)
      while slots[slot] != 0 { slot = (slot + 1) & (size - 1) }
      slots[slot] = UInt32(index + 1)
    }
    self.slots = .configured(slots)
  }

  package var count: Int { clusters.count }

  package subscript(index: Int) -> Ref<ClusterConfig> { clusters[index] }

  /// The place of the cluster of this name.
  package func find(_ name: Bytes) -> Int? {
    var slot = Self.hash(name) & (slots.count &- 1)
    while slots[slot] != 0 {
      let index = Int(slots[slot]) &- 1
      if clusters[index].value.name == name { return index }
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
