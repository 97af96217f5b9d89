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
  @usableFromInline internal var marks: UInt8

  /// - Parameter isWritten: the text from the name to the value's end is the field's line as HTTP/1.1
  ///   writes it: `name: value` and CRLF, the name in lower case.
  @inlinable @inline(__always)
  package init(
    id: HeaderID, nameOffset: UInt32, nameLength: UInt16, valueOffset: UInt32,
    valueLength: UInt32, isWritten: Bool
  ) {
    self.nameOffset = nameOffset
    self.valueOffset = valueOffset
    self.valueLength = valueLength
    self.nameLength = nameLength
    self.id = id
    marks = (isWritten ? Self.written : 0) | (id.isPseudo ? Self.pseudo : 0)
  }

  @inlinable internal static var removed: UInt8 { 1 }
  @inlinable internal static var written: UInt8 { 2 }
  @inlinable internal static var pseudo: UInt8 { 4 }

  /// A removed field keeps its place, so that positions stay valid while someone iterates.
  @inlinable @inline(__always)
  package var isRemoved: Bool { marks & Self.removed != 0 }

  /// The field is there, and its text is its line: those that follow each other leave in one copy.
  @inlinable @inline(__always)
  internal var isLine: Bool { marks == Self.written }

  /// Not written as a line: it has been removed, or stands in the start line.
  @inlinable @inline(__always)
  internal var isUnwritten: Bool { marks & (Self.removed | Self.pseudo) != 0 }
}

/// Fields that a parser found, for `HeaderMap.load`: valid until it reads the next head.
@safe
package struct ParsedFields {
  // SAFETY: these point to `count` entries, and to what they are, for as long as the parser does not
  // go on.
  fileprivate let entries: UnsafePointer<HeaderEntry>
  package let count: Int
  /// The ids among the entries.
  fileprivate let known: UnsafePointer<HeaderPresence>

  package init(
    _ entries: UnsafePointer<HeaderEntry>, count: Int, known: UnsafePointer<HeaderPresence>
  ) {
    unsafe self.entries = entries
    self.count = count
    unsafe self.known = known
  }

  package var isEmpty: Bool { count == 0 }
}

/// The fields of one head, in order, in one pooled block: what is known of them all, the text, and
/// the entries from the block's end. Names are lower-case. The text of a field lies as HTTP/1.1
/// writes it, so that what came in leaves again as it lies.
///
/// The map itself is no more than the block's address: the compiler copies a value that it lends.
///
/// Views that it lends are valid until the next change of the same map.
@safe
@usableFromInline
package struct HeaderMap: ~Copyable {
  /// What stands at the beginning of the block.
  @usableFromInline
  internal struct Summary: BitwiseCopyable {
    /// Places taken, those of removed fields too.
    @usableFromInline internal var count = 0
    @usableFromInline internal var overflowed = false
    /// The ids that may be present, and where: most lookups end here.
    @usableFromInline internal var present = HeaderPresence()

    @usableFromInline
    internal init(count: Int = 0, present: HeaderPresence = HeaderPresence()) {
      self.count = count
      self.present = present
    }
  }

  @usableFromInline internal var block: Block?

  /// Where the text begins in the block.
  @inlinable internal static var textStart: Int {
    (MemoryLayout<Summary>.size &+ 15) & ~15
  }

  /// Room left for fields that filters add, when a head is loaded.
  private static let slack = 512

  @inlinable
  package init() {}

  /// Holds no head.
  @inlinable
  package var isVacant: Bool { block == nil }

  /// SAFETY: every block of a map begins with a summary.
  @inlinable @inline(__always)
  internal static func summary(_ block: Block) -> UnsafeMutablePointer<Summary> {
    unsafe UnsafeMutableRawPointer(block.base).assumingMemoryBound(to: Summary.self)
  }

  /// Makes a fresh block ready for text.
  @usableFromInline
  internal static func prepare(_ block: Block) {
    unsafe summary(block).initialize(to: Summary())
    block.used = textStart
  }

  /// Places taken, those of removed fields too.
  @inlinable @inline(__always)
  package var count: Int {
    guard let block else { return 0 }
    return unsafe Self.summary(block).pointee.count
  }

  /// A change did not fit into the largest block. The message must not be sent as if it had.
  @inlinable
  package var overflowed: Bool {
    guard let block else { return false }
    return unsafe Self.summary(block).pointee.overflowed
  }

  // MARK: Filling

  /// Takes a copy of `text`, and of fields whose offsets point into it. A head that is larger than
  /// the largest block leaves the map empty and `overflowed`.
  package mutating func load(_ text: Bytes, _ fields: ParsedFields, from pool: inout BlockPool) {
    precondition(block == nil, "a vacant map")
    let count = fields.count
    let least = Self.textStart &+ text.count &+ count &* MemoryLayout<HeaderEntry>.stride
    let size = least &+ 8 &* MemoryLayout<HeaderEntry>.stride &+ Self.slack
    let block = pool.take(min(size, BlockPool.largest))
    self.block = block
    let summary = unsafe Self.summary(block)
    block.used = Self.textStart
    guard least <= block.capacity else {
      unsafe summary.initialize(to: Summary())
      unsafe summary.pointee.overflowed = true
      return
    }
    unsafe summary.initialize(to: Summary(count: count, present: fields.known.pointee))
    _ = block.append(text)
    // SAFETY: `least` bytes fit; the table grows downwards, so the first entry is the last in memory.
    var place = unsafe Self.table(block) - 1
    var index = 0
    while index < count {
      unsafe place.initialize(to: fields.entries[index])
      unsafe place -= 1
      index &+= 1
    }
  }

  /// Makes the map ready to be filled by `add`.
  @inlinable
  package mutating func open(from pool: inout BlockPool) {
    if block == nil { block = Self.takeBlock(from: &pool) }
  }

  @usableFromInline
  internal static func takeBlock(from pool: inout BlockPool) -> Block {
    let block = pool.take()
    prepare(block)
    return block
  }

  /// Gives the memory back; the map is vacant then.
  @inlinable @inline(__always)
  package mutating func release(into pool: inout BlockPool) {
    guard let block else { return }
    pool.release(block)
    self.block = nil
  }

  /// A copy of every live field, in a block of its own: what a retry starts from.
  package mutating func copy(from other: borrowing HeaderMap, pool: inout BlockPool) {
    release(into: &pool)
    guard let source = other.block else { return }
    let block = pool.take(source.capacity)
    Self.prepare(block)
    _ = block.append(source.bytes(from: Self.textStart))
    self.block = block
    unsafe Self.summary(block).pointee.overflowed = other.overflowed
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
    return unsafe (Self.table(block) + (-1 &- index)).pointee
  }

  /// The field at `index` is there.
  @inlinable
  package func isLive(_ index: Int) -> Bool { !entry(index).isRemoved }

  /// The lower-case name at `index`.
  @inlinable
  package func name(_ index: Int) -> Bytes {
    let entry = self.entry(index)
    return entry.id.isPseudo ? entry.id.name : text(entry.nameOffset, Int(entry.nameLength))
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
    guard let block, mayHave(id) else { return nil }
    if let place = unsafe Self.summary(block).pointee.present.place(of: id), place < count {
      let entry = self.entry(place)
      if entry.id == id && !entry.isRemoved { return place }
    }
    return search(.empty, id, from: 0)
  }

  /// Whether one of these names may be there: false is certain.
  @inlinable @inline(__always)
  package func mayHave(anyOf ids: HeaderIDSet) -> Bool {
    guard let block else { return false }
    return unsafe Self.summary(block).pointee.present.ids.intersects(ids)
  }

  /// The position of the next field with this lower-case name, from `start`.
  @inlinable @inline(__always)
  package func find(_ name: Bytes, id: HeaderID, from start: Int = 0) -> Int? {
    guard mayHave(id) else { return nil }
    return search(name, id, from: start)
  }

  @usableFromInline
  internal func search(_ name: Bytes, _ id: HeaderID, from start: Int) -> Int? {
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

  /// There is more than one field with this id.
  @inlinable @inline(__always)
  package func isRepeated(_ id: HeaderID) -> Bool {
    guard let block, unsafe Self.summary(block).pointee.present.repeated.contains(id) else {
      return false
    }
    return occurrences(of: id) > 1
  }

  /// How many live fields have this id.
  @usableFromInline
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

  /// Bytes of the live fields' names and values, pseudo fields among them.
  package var textBytes: Int {
    var total = 0
    var index = 0
    while index < count {
      if isLive(index) { total &+= name(index).count &+ value(index).count }
      index &+= 1
    }
    return total
  }

  /// Writes the fields as HTTP/1.1 does, pseudo fields left out. Lines that lie behind each other
  /// are written by one copy.
  package func writeLines(to out: inout ByteWriter) {
    guard let block else { return }
    var start: UInt32 = 0
    var end: UInt32 = 0
    // SAFETY: the table holds `count` entries below its end.
    var place = unsafe Self.table(block) - 1
    var left = count
    while left > 0 {
      let entry = unsafe place.pointee
      if entry.isLine {
        if entry.nameOffset != end {
          if end > start { out.append(text(start, Int(end &- start))) }
          start = entry.nameOffset
        }
        end = entry.valueOffset &+ entry.valueLength &+ 2
      } else if !entry.isUnwritten {
        if end > start { out.append(text(start, Int(end &- start))) }
        start = 0
        end = 0
        out.append(text(entry.nameOffset, Int(entry.nameLength)))
        out.append(UInt8(ascii: ":"), UInt8(ascii: " "))
        out.append(text(entry.valueOffset, Int(entry.valueLength)))
        out.append(13, 10)
      }
      unsafe place -= 1
      left &-= 1
    }
    if end > start { out.append(text(start, Int(end &- start))) }
  }

  // MARK: Changing

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
