import CLinux
import Engine

/// One field of a head, as offsets into the head's memory.
@usableFromInline
package struct HeaderEntry: BitwiseCopyable {
  @usableFromInline package var nameOffset: UInt32
  @usableFromInline package var valueOffset: UInt32
  @usableFromInline package var valueLength: UInt32
  @usableFromInline package var nameLength: UInt16
  @usableFromInline package var id: HeaderID
  /// A removed field keeps its place, so that positions stay valid while someone iterates.
  @usableFromInline package var isRemoved: Bool

  @inlinable
  package init(
    id: HeaderID, nameOffset: UInt32, nameLength: UInt16, valueOffset: UInt32, valueLength: UInt32
  ) {
    self.nameOffset = nameOffset
    self.valueOffset = valueOffset
    self.valueLength = valueLength
    self.nameLength = nameLength
    self.id = id
    isRemoved = false
  }
}

/// The fields of one head, in order, in one pooled block: text from the block's start, entries from
/// its end. Names are lower-case. A field with a known id needs no text for its name.
///
/// Views that it lends are valid until the next change of the same map.
@safe
@usableFromInline
package struct HeaderMap: ~Copyable {
  @usableFromInline internal var block: Block?
  /// Places taken, those of removed fields too.
  @usableFromInline package private(set) var count = 0
  // Which known ids may be present: most lookups end here.
  @usableFromInline internal var present: (UInt64, UInt64) = (0, 0)
  /// A change did not fit into the largest block. The message must not be sent as if it had.
  package private(set) var overflowed = false

  /// Room left for fields that filters add, when a head is loaded.
  private static let slack = 512

  package init() {}

  /// Holds no head.
  package var isVacant: Bool { block == nil }

  // MARK: Filling

  /// Takes a copy of `text`, and of entries whose offsets point into it. A head that is larger than
  /// the largest block leaves the map empty and `overflowed`.
  package mutating func load(
    _ text: Bytes, _ entries: UnsafePointer<HeaderEntry>, count: Int, from pool: inout BlockPool
  ) {
    precondition(block == nil, "a vacant map")
    let least = text.count &+ count &* MemoryLayout<HeaderEntry>.stride
    let size = least &+ 8 &* MemoryLayout<HeaderEntry>.stride &+ Self.slack
    let block = pool.take(min(size, BlockPool.largest))
    self.block = block
    overflowed = least > block.capacity
    guard !overflowed else { return }
    _ = block.append(text)
    var index = 0
    while index < count {
      unsafe push(entries[index], in: block)
      index &+= 1
    }
  }

  /// Makes the map ready to be filled by `add`.
  package mutating func open(from pool: inout BlockPool) {
    if block == nil { block = pool.take() }
  }

  /// Gives the memory back; the map is vacant then.
  package mutating func release(into pool: inout BlockPool) {
    guard let block else { return }
    pool.release(block)
    self.block = nil
    count = 0
    present = (0, 0)
    overflowed = false
  }

  /// A copy of every live field, in a block of its own: what a retry starts from.
  package mutating func copy(from other: borrowing HeaderMap, pool: inout BlockPool) {
    release(into: &pool)
    guard let source = other.block else { return }
    let block = pool.take(source.capacity)
    _ = block.append(source.bytes())
    self.block = block
    overflowed = other.overflowed
    var index = 0
    while index < other.count {
      if !other.entry(index).isRemoved { push(other.entry(index), in: block) }
      index &+= 1
    }
  }

  // MARK: Reading

  /// The entry at `index`, removed or not.
  @inlinable @inline(__always)
  package func entry(_ index: Int) -> HeaderEntry {
    guard let block, index >= 0, index < count else { preconditionFailure("an entry of the map") }
    return unsafe Self.table(block)[-1 &- index]
  }

  /// The field at `index` is there.
  @inlinable
  package func isLive(_ index: Int) -> Bool { !entry(index).isRemoved }

  /// The lower-case name at `index`.
  @inlinable
  package func name(_ index: Int) -> Bytes {
    let entry = self.entry(index)
    return entry.id == .other
      ? text(entry.nameOffset, Int(entry.nameLength)) : entry.id.name
  }

  /// The value at `index`.
  @inlinable @inline(__always)
  package func value(_ index: Int) -> Bytes {
    let entry = self.entry(index)
    return text(entry.valueOffset, Int(entry.valueLength))
  }

  /// The position of the first field with this id.
  @inlinable @inline(__always)
  package func find(_ id: HeaderID) -> Int? {
    guard mayHave(id) else { return nil }
    var index = 0
    while index < count {
      let entry = self.entry(index)
      if entry.id == id && !entry.isRemoved { return index }
      index &+= 1
    }
    return nil
  }

  /// The position of the next field with this lower-case name, from `start`.
  package func find(_ name: Bytes, id: HeaderID, from start: Int = 0) -> Int? {
    guard id == .other || mayHave(id) else { return nil }
    var index = start
    while index < count {
      let entry = self.entry(index)
      if entry.id == id && !entry.isRemoved {
        if id != .other { return index }
        if Int(entry.nameLength) == name.count, text(entry.nameOffset, name.count) == name {
          return index
        }
      }
      index &+= 1
    }
    return nil
  }

  package func find(_ name: Bytes) -> Int? { find(name, id: HeaderID.of(name)) }

  /// The first value of this id.
  @inlinable @inline(__always)
  package subscript(id: HeaderID) -> Bytes? {
    guard let index = find(id) else { return nil }
    return value(index)
  }

  /// The first value of this lower-case name.
  package subscript(name: Bytes) -> Bytes? {
    guard let index = find(name) else { return nil }
    return value(index)
  }

  @inlinable @inline(__always)
  package func contains(_ id: HeaderID) -> Bool { find(id) != nil }

  /// How many live fields have this id.
  package func occurrences(of id: HeaderID) -> Int {
    guard mayHave(id) else { return 0 }
    var total = 0
    var index = 0
    while index < count {
      let entry = self.entry(index)
      if entry.id == id && !entry.isRemoved { total &+= 1 }
      index &+= 1
    }
    return total
  }

  /// Bytes that the live fields take when written with `: ` and CRLF.
  package var writtenBytes: Int {
    var total = 0
    var index = 0
    while index < count {
      let entry = self.entry(index)
      if !entry.isRemoved { total &+= Int(entry.nameLength) &+ Int(entry.valueLength) &+ 4 }
      index &+= 1
    }
    return total
  }

  // MARK: Changing

  /// Appends a field. `name` must be lower-case; `value` may be a view into this map.
  package mutating func add(
    _ name: Bytes, id: HeaderID, _ value: Bytes, from pool: inout BlockPool
  ) {
    let nameBytes = id == .other ? name.count : 0
    guard name.count <= Int(UInt16.max) else {
      overflowed = true
      return
    }
    guard
      let block = room(
        nameBytes &+ value.count &+ MemoryLayout<HeaderEntry>.stride, keeping: name, value, &pool)
    else { return }
    let nameOffset = UInt32(truncatingIfNeeded: block.block.used)
    if nameBytes > 0 { _ = block.block.append(block.first) }
    let valueOffset = UInt32(truncatingIfNeeded: block.block.used)
    _ = block.block.append(block.second)
    push(
      HeaderEntry(
        id: id, nameOffset: nameOffset, nameLength: UInt16(truncatingIfNeeded: name.count),
        valueOffset: valueOffset, valueLength: UInt32(truncatingIfNeeded: value.count)),
      in: block.block)
    block.release(into: &pool)
  }

  package mutating func add(_ id: HeaderID, _ value: Bytes, from pool: inout BlockPool) {
    add(id.name, id: id, value, from: &pool)
  }

  /// Replaces the first field of this name and removes the others, or appends one.
  package mutating func set(
    _ name: Bytes, id: HeaderID, _ value: Bytes, from pool: inout BlockPool
  ) {
    guard let index = find(name, id: id) else { return add(name, id: id, value, from: &pool) }
    // The others first: replacing may move the text that `name` is a view of.
    var next = index &+ 1
    while let more = find(name, id: id, from: next) {
      remove(at: more)
      next = more &+ 1
    }
    replace(index, value, from: &pool)
  }

  package mutating func set(_ id: HeaderID, _ value: Bytes, from pool: inout BlockPool) {
    set(id.name, id: id, value, from: &pool)
  }

  /// Gives the field at `index` another value.
  package mutating func replace(_ index: Int, _ value: Bytes, from pool: inout BlockPool) {
    guard let room = room(value.count, keeping: value, .empty, &pool) else { return }
    var entry = self.entry(index)
    entry.valueOffset = UInt32(truncatingIfNeeded: room.block.used)
    entry.valueLength = UInt32(truncatingIfNeeded: value.count)
    _ = room.block.append(room.first)
    unsafe Self.table(room.block)[-1 &- index] = entry
    room.release(into: &pool)
  }

  /// Appends to the first field of this id behind `separator`, or adds the field.
  package mutating func append(
    _ id: HeaderID, separator: StaticString, _ value: Bytes, from pool: inout BlockPool
  ) {
    guard let index = find(id) else { return add(id, value, from: &pool) }
    let old = self.value(index)
    let separatorBytes = Bytes(separator)
    let total = old.count &+ separatorBytes.count &+ value.count
    guard let room = room(total, keeping: old, value, &pool) else { return }
    var entry = self.entry(index)
    entry.valueOffset = UInt32(truncatingIfNeeded: room.block.used)
    entry.valueLength = UInt32(truncatingIfNeeded: total)
    _ = room.block.append(room.first)
    _ = room.block.append(separatorBytes)
    _ = room.block.append(room.second)
    unsafe Self.table(room.block)[-1 &- index] = entry
    room.release(into: &pool)
  }

  /// Removes every field with this id.
  package mutating func remove(_ id: HeaderID) {
    guard mayHave(id) else { return }
    var index = 0
    while index < count {
      if entry(index).id == id { remove(at: index) }
      index &+= 1
    }
    clearPresence(id)
  }

  /// Removes every field with this lower-case name.
  package mutating func remove(_ name: Bytes) {
    let id = HeaderID.of(name)
    guard id == .other else { return remove(id) }
    var start = 0
    while let index = find(name, id: id, from: start) {
      remove(at: index)
      start = index &+ 1
    }
  }

  package mutating func remove(at index: Int) {
    guard let block, index >= 0, index < count else { preconditionFailure("an entry of the map") }
    unsafe Self.table(block)[-1 &- index].isRemoved = true
  }

  // MARK: Memory

  /// Entries stand before this pointer: entry `i` at `-1 - i`.
  @usableFromInline @inline(__always)
  internal static func table(_ block: Block) -> UnsafeMutablePointer<HeaderEntry> {
    // SAFETY: capacities are multiples of the entry's stride, and `room` keeps text and entries
    // apart.
    unsafe UnsafeMutableRawPointer(block.base + block.capacity)
      .assumingMemoryBound(to: HeaderEntry.self)
  }

  @inlinable @inline(__always)
  internal func text(_ offset: UInt32, _ length: Int) -> Bytes {
    guard let block else { return .empty }
    precondition(Int(offset) &+ length <= block.used, "text of the map")
    return unsafe Bytes(base: UnsafePointer(block.base) + Int(offset), count: length)
  }

  /// A place to write to, and two views that stay valid while it is written to.
  private struct Room {
    let block: Block
    let first: Bytes
    let second: Bytes
    let old: Block?

    func release(into pool: inout BlockPool) {
      if let old { pool.release(old) }
    }
  }

  /// Makes sure that `bytes` more fit, moving everything to a larger block if need be. The old block
  /// is kept until `Room.release`, because the views may point into it.
  private mutating func room(
    _ bytes: Int, keeping first: Bytes, _ second: Bytes, _ pool: inout BlockPool
  ) -> Room? {
    let current = block ?? pool.take()
    block = current
    let entries = (count &+ 1) &* MemoryLayout<HeaderEntry>.stride
    let needed = current.used &+ bytes &+ entries
    if needed <= current.capacity {
      return Room(block: current, first: first, second: second, old: nil)
    }
    guard needed <= BlockPool.largest else {
      overflowed = true
      return nil
    }
    let larger = pool.take(max(needed, min(current.capacity * 2, BlockPool.largest)))
    _ = larger.append(current.bytes())
    unsafe memcpy(
      Self.table(larger) - count, Self.table(current) - count,
      count &* MemoryLayout<HeaderEntry>.stride)
    block = larger
    return Room(block: larger, first: first, second: second, old: current)
  }

  @inline(__always)
  private mutating func push(_ entry: HeaderEntry, in block: Block) {
    // SAFETY: the caller made room for one more entry.
    unsafe (Self.table(block) - 1 - count).initialize(to: entry)
    count &+= 1
    let bit = UInt64(1) << UInt64(entry.id.rawValue & 63)
    if entry.id.rawValue < 64 { present.0 |= bit } else { present.1 |= bit }
  }

  @inlinable @inline(__always)
  internal func mayHave(_ id: HeaderID) -> Bool {
    let word = id.rawValue < 64 ? present.0 : present.1
    return word & (1 << UInt64(id.rawValue & 63)) != 0
  }

  private mutating func clearPresence(_ id: HeaderID) {
    let mask = ~(UInt64(1) << UInt64(id.rawValue & 63))
    if id.rawValue < 64 { present.0 &= mask } else { present.1 &= mask }
  }
}
