import Engine
import Routing

/// Dynamic metadata of one stream or connection: a few texts and flags by name space and key, in one
/// pooled block that most never take. The block holds one entry behind the other; a newer one of the same name
/// counts.
struct Metadata: ~Copyable {
  /// What stands before an entry's texts.
  private struct Lengths: BitwiseCopyable {
    var space: UInt32
    var key: UInt32
    var value: UInt32
    /// Not 0 for a flag.
    var flag: UInt32 = 0

    var total: Int { Int(space) + Int(key) + Int(value) }
  }

  /// More names than filters on one stream have reason to set; what comes after is dropped.
  private static let capacity = 32
  private static let longestEntry = 16 * 1024

  private var block: Block?
  private var count = 0

  init() {}

  /// The text under this name, or the name of the flag.
  func get(_ space: Bytes, _ key: Bytes) -> Bytes? { value(space, key)?.text }

  /// The value under this name.
  func value(_ space: Bytes, _ key: Bytes) -> MetadataValue? {
    guard let block else { return nil }
    var found: MetadataValue?
    var rest = block.bytes()
    while let lengths = Self.lengths(rest) {
      let entry = rest.dropFirst(MemoryLayout<Lengths>.size)
      let keyStart = Int(lengths.space)
      let valueStart = keyStart + Int(lengths.key)
      if entry[0, keyStart] == space, entry[keyStart, valueStart] == key {
        found = MetadataValue(
          entry[valueStart, lengths.total], isFlag: lengths.flag != 0)
      }
      rest = entry.dropFirst(lengths.total)
    }
    return found
  }

  /// Sets a value; one that does not fit into the largest block is dropped.
  mutating func set(
    _ space: Bytes, _ key: Bytes, _ value: MetadataValue, from pool: inout BlockPool
  ) {
    let size = space.count + key.count + value.text.count
    guard size <= Self.longestEntry else { return }
    let isNew = get(space, key) == nil
    guard !isNew || count < Self.capacity,
      let target = room(for: size + MemoryLayout<Lengths>.size, &pool)
    else { return }
    let lengths = Lengths(
      space: UInt32(truncatingIfNeeded: space.count), key: UInt32(truncatingIfNeeded: key.count),
      value: UInt32(truncatingIfNeeded: value.text.count), flag: value.isFlag ? 1 : 0)
    unsafe withUnsafeBytes(of: lengths) { raw in
      guard let base = raw.baseAddress else { return }
      _ = target.append(
        unsafe Bytes(base: base.assumingMemoryBound(to: UInt8.self), count: raw.count))
    }
    _ = target.append(space)
    _ = target.append(key)
    _ = target.append(value.text)
    if isNew { count += 1 }
  }

  mutating func release(into pool: inout BlockPool) {
    guard let block else { return }
    pool.release(block)
    self.block = nil
    count = 0
  }

  private static func lengths(_ bytes: Bytes) -> Lengths? {
    guard bytes.count >= MemoryLayout<Lengths>.size else { return nil }
    // SAFETY: so many bytes are there, and any bytes are lengths.
    return unsafe UnsafeRawPointer(bytes.base).loadUnaligned(as: Lengths.self)
  }

  private mutating func room(for size: Int, _ pool: inout BlockPool) -> Block? {
    guard let old = block else {
      let fresh = pool.take(max(size, BlockPool.smallest))
      block = fresh
      return fresh
    }
    guard old.used + size > old.capacity else { return old }
    guard old.used + size <= BlockPool.largest else { return nil }
    let larger = pool.take(min(max(old.used + size, old.capacity * 2), BlockPool.largest))
    _ = larger.append(old.bytes())
    pool.release(old)
    block = larger
    return larger
  }
}
