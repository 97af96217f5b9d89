import CLinux
import Engine

// Changes, and the memory they need: one block, text from its beginning and entries from its end,
// which makes way for a larger one when the two would meet.
extension HeaderMap {
  /// Appends a field. `name` must be lower-case; `value` may be a view into this map.
  @inlinable @inline(__always)
  package mutating func add(
    _ name: Bytes, id: HeaderID, _ value: Bytes, from pool: inout BlockPool
  ) {
    guard let block, hasRoom(Self.lineBytes(name, value), in: block) else {
      return addToLarger(name, id: id, value, from: &pool)
    }
    addLine(name, id: id, value, in: block)
  }

  @inlinable @inline(__always)
  package mutating func add(_ id: HeaderID, _ value: Bytes, from pool: inout BlockPool) {
    add(id.name, id: id, value, from: &pool)
  }

  /// Appends a field that was put together before.
  @inlinable @inline(__always)
  package mutating func add(_ line: FieldLine, from pool: inout BlockPool) {
    guard let block, hasRoom(line.text.count, in: block) else {
      return addToLarger(line.name, id: line.id, line.value, from: &pool)
    }
    let start = block.used &- Self.textStart
    _ = block.append(line.text)
    push(line.entry(at: start), in: block)
  }

  /// Adds a pseudo field whose value lies in this map's text already: nothing is copied.
  package mutating func add(
    pseudo id: HeaderID, at offset: Int, count length: Int, from pool: inout BlockPool
  ) {
    guard let block, offset >= 0, length >= 0, offset &+ length <= block.used &- Self.textStart
    else { preconditionFailure("text of the map") }
    guard hasRoom(0, in: block) else {
      return addToLarger(id.name, id: id, text(UInt32(offset), length), from: &pool)
    }
    push(
      HeaderEntry(
        id: id, nameOffset: 0, nameLength: 0, valueOffset: UInt32(truncatingIfNeeded: offset),
        valueLength: UInt32(truncatingIfNeeded: length), isWritten: false),
      in: block)
  }

  /// Makes a pseudo field of the field at `index`, with the value it has.
  package mutating func rename(_ index: Int, toPseudo id: HeaderID) {
    precondition(index >= 0 && index < count && id.isPseudo, "an entry of the map")
    guard let block else { return }
    let place = unsafe Self.table(block) + (-1 &- index)
    let summary = unsafe Self.summary(block)
    unsafe summary.pointee.present.remove(place.pointee.id)
    unsafe place.pointee.id = id
    unsafe place.pointee.marks |= HeaderEntry.pseudo
    unsafe summary.pointee.present.add(id, at: index)
  }

  /// Replaces the first field of this name and removes the others, or appends one.
  @inlinable @inline(__always)
  package mutating func set(
    _ name: Bytes, id: HeaderID, _ value: Bytes, from pool: inout BlockPool
  ) {
    guard mayHave(id), let index = search(name, id, from: 0) else {
      return add(name, id: id, value, from: &pool)
    }
    replace(allFrom: index, name, id: id, value, from: &pool)
  }

  @inlinable @inline(__always)
  package mutating func set(_ id: HeaderID, _ value: Bytes, from pool: inout BlockPool) {
    set(id.name, id: id, value, from: &pool)
  }

  /// The same with a field that was put together before.
  @inlinable @inline(__always)
  package mutating func set(_ line: FieldLine, from pool: inout BlockPool) {
    guard mayHave(line.id), let index = search(line.name, line.id, from: 0) else {
      return add(line, from: &pool)
    }
    replace(allFrom: index, line.name, id: line.id, line.value, from: &pool)
  }

  @usableFromInline
  internal mutating func replace(
    allFrom index: Int, _ name: Bytes, id: HeaderID, _ value: Bytes, from pool: inout BlockPool
  ) {
    // The others first: replacing may move the text that `name` is a view of.
    var next = index &+ 1
    while let more = search(name, id, from: next) {
      remove(at: more)
      next = more &+ 1
    }
    replace(index, value, from: &pool)
  }

  /// Gives the field at `index` another value.
  package mutating func replace(_ index: Int, _ value: Bytes, from pool: inout BlockPool) {
    let name = self.name(index)
    guard let room = room(Self.lineBytes(name, value), keeping: name, value, &pool) else { return }
    let id = entry(index).id
    let entry = Self.write(room.first, id: id, room.second, in: room.block)
    unsafe Self.table(room.block)[-1 &- index] = entry
    room.release(into: &pool)
  }

  /// Appends to the first field of this id behind `separator`, or adds the field.
  package mutating func append(
    _ id: HeaderID, separator: StaticString, _ value: Bytes, from pool: inout BlockPool
  ) {
    guard let index = find(id) else { return add(id, value, from: &pool) }
    let old = self.value(index)
    guard !old.isEmpty else { return replace(index, value, from: &pool) }
    let separator = Bytes(separator)
    let valueLength = old.count &+ separator.count &+ value.count
    let needed = id.name.count &+ valueLength &+ 4
    guard let room = room(needed, keeping: old, value, &pool) else { return }
    var entry = Self.write(id.name, id: id, room.first, in: room.block)
    // The rest of the value goes where the line ended.
    room.block.used &-= 2
    _ = room.block.append(separator)
    _ = room.block.append(room.second)
    _ = room.block.append(Bytes("\r\n"))
    entry.valueLength = UInt32(truncatingIfNeeded: valueLength)
    unsafe Self.table(room.block)[-1 &- index] = entry
    room.release(into: &pool)
  }

  /// Removes every field with this id.
  @inlinable @inline(__always)
  package mutating func remove(_ id: HeaderID) { remove(anyOf: HeaderIDSet(id)) }

  /// Removes every field with one of these ids.
  @inlinable @inline(__always)
  package mutating func remove(anyOf ids: HeaderIDSet) {
    if mayHave(anyOf: ids) { removeAll(ids) }
  }

  @usableFromInline
  internal mutating func removeAll(_ ids: HeaderIDSet) {
    guard let block else { return }
    var index = 0
    while index < count {
      let id = entry(index).id
      if id != .other, ids.contains(id) { remove(at: index) }
      index &+= 1
    }
    unsafe Self.summary(block).pointee.present.remove(ids)
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

  @inlinable
  package mutating func remove(at index: Int) {
    guard let block, index >= 0, index < count else { preconditionFailure("an entry of the map") }
    unsafe (Self.table(block) + (-1 &- index)).pointee.marks |= HeaderEntry.removed
  }

  // MARK: Memory

  /// Bytes that a field's line takes.
  @inlinable @inline(__always)
  internal static func lineBytes(_ name: Bytes, _ value: Bytes) -> Int {
    name.count &+ value.count &+ 4
  }

  /// So many bytes of text and one entry fit.
  @inlinable @inline(__always)
  internal func hasRoom(_ bytes: Int, in block: Block) -> Bool {
    bytes <= block.capacity &- block.used &- (count &+ 1) &* MemoryLayout<HeaderEntry>.stride
  }

  @inlinable @inline(__always)
  internal mutating func addLine(_ name: Bytes, id: HeaderID, _ value: Bytes, in block: Block) {
    guard name.count <= Int(UInt16.max) else {
      unsafe Self.summary(block).pointee.overflowed = true
      return
    }
    push(Self.write(name, id: id, value, in: block), in: block)
  }

  @usableFromInline
  internal mutating func addToLarger(
    _ name: Bytes, id: HeaderID, _ value: Bytes, from pool: inout BlockPool
  ) {
    guard let room = room(Self.lineBytes(name, value), keeping: name, value, &pool) else { return }
    addLine(room.first, id: id, room.second, in: room.block)
    room.release(into: &pool)
  }

  /// Writes a field's line behind the text. There is room for it.
  @inlinable @inline(__always)
  internal static func write(
    _ name: Bytes, id: HeaderID, _ value: Bytes, in block: Block
  ) -> HeaderEntry {
    let start = block.used
    let nameEnd = start &+ name.count
    let valueEnd = nameEnd &+ 2 &+ value.count
    precondition(valueEnd &+ 2 <= block.capacity, "room for the line")
    let base = unsafe block.base
    // SAFETY: the line fits, as was just asked, and nothing that is lent lies behind the text.
    unsafe fl_copy(base + start, name.base, name.count)
    unsafe base[nameEnd] = UInt8(ascii: ":")
    unsafe base[nameEnd &+ 1] = UInt8(ascii: " ")
    unsafe fl_copy(base + (nameEnd &+ 2), value.base, value.count)
    unsafe base[valueEnd] = 13
    unsafe base[valueEnd &+ 1] = 10
    block.used = valueEnd &+ 2
    return HeaderEntry(
      id: id, nameOffset: UInt32(truncatingIfNeeded: start &- textStart),
      nameLength: UInt16(truncatingIfNeeded: name.count),
      valueOffset: UInt32(truncatingIfNeeded: nameEnd &+ 2 &- textStart),
      valueLength: UInt32(truncatingIfNeeded: value.count), isWritten: true)
  }

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
    let start = Self.textStart &+ Int(offset)
    precondition(start &+ length <= block.used, "text of the map")
    return unsafe Bytes(base: UnsafePointer(block.base) + start, count: length)
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
    let current = block ?? Self.takeBlock(from: &pool)
    block = current
    let entries = (count &+ 1) &* MemoryLayout<HeaderEntry>.stride
    let needed = current.used &+ bytes &+ entries
    if needed <= current.capacity {
      return Room(block: current, first: first, second: second, old: nil)
    }
    guard needed <= BlockPool.largest else {
      unsafe Self.summary(current).pointee.overflowed = true
      return nil
    }
    let larger = pool.take(max(needed, min(current.capacity * 2, BlockPool.largest)))
    // With the summary at its beginning.
    _ = larger.append(current.bytes())
    unsafe memcpy(
      Self.table(larger) - count, Self.table(current) - count,
      count &* MemoryLayout<HeaderEntry>.stride)
    block = larger
    return Room(block: larger, first: first, second: second, old: current)
  }

  @inlinable @inline(__always)
  internal mutating func push(_ entry: HeaderEntry, in block: Block) {
    // SAFETY: the caller made room for one more entry.
    let summary = unsafe Self.summary(block)
    let count = unsafe summary.pointee.count
    unsafe (Self.table(block) + (-1 &- count)).initialize(to: entry)
    unsafe summary.pointee.present.add(entry.id, at: count)
    unsafe summary.pointee.count = count &+ 1
  }

  @inlinable @inline(__always)
  internal func mayHave(_ id: HeaderID) -> Bool { mayHave(anyOf: HeaderIDSet(id)) }
}
