import CLinux
import Engine

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

  /// At least one field has not been removed.
  package var hasFields: Bool {
    for index in 0..<count where isLive(index) { return true }
    return false
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
}
