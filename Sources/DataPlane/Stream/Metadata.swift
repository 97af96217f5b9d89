import Engine

/// Dynamic metadata of one stream: a few texts by name space and key, in one pooled block that most
/// streams never take.
struct Metadata: ~Copyable {
  private struct Place: BitwiseCopyable {
    var offset: Int
    var spaceLength: Int
    var keyLength: Int
    var valueLength: Int
  }

  /// More entries than filters on one stream have reason to set; what comes after is dropped.
  private static let capacity = 16

  private var block: Block?
  private var places = InlineArray<16, Place>(
    repeating: Place(offset: 0, spaceLength: 0, keyLength: 0, valueLength: 0))
  private var count = 0

  init() {}

  /// The text under this name.
  func get(_ space: Bytes, _ key: Bytes) -> Bytes? {
    guard let block, let index = find(space, key) else { return nil }
    let place = places[index]
    let start = place.offset + place.spaceLength + place.keyLength
    return block.bytes()[start, start + place.valueLength]
  }

  /// Sets a text; a value that does not fit into the largest block is dropped.
  mutating func set(_ space: Bytes, _ key: Bytes, _ value: Bytes, from pool: inout BlockPool) {
    let size = space.count + key.count + value.count
    guard size <= 16 * 1024 else { return }
    let existing = find(space, key)
    guard existing != nil || count < Self.capacity else { return }
    guard let target = room(for: size, &pool) else { return }
    let place = Place(
      offset: target.used, spaceLength: space.count, keyLength: key.count,
      valueLength: value.count)
    _ = target.append(space)
    _ = target.append(key)
    _ = target.append(value)
    if let existing {
      places[existing] = place
    } else {
      places[count] = place
      count += 1
    }
  }

  mutating func release(into pool: inout BlockPool) {
    guard let block else { return }
    pool.release(block)
    self.block = nil
    count = 0
  }

  private func find(_ space: Bytes, _ key: Bytes) -> Int? {
    guard let block else { return nil }
    let text = block.bytes()
    for index in 0..<count {
      let place = places[index]
      let keyStart = place.offset + place.spaceLength
      if text[place.offset, keyStart] == space, text[keyStart, keyStart + place.keyLength] == key {
        return index
      }
    }
    return nil
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
