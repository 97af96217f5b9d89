import Engine

/// An immutable table from bytes to numbers. Looking up costs the same whatever it holds.
///
/// Its hash (FNV-1a) can be continued byte by byte, so every prefix of a text is looked up in one
/// pass. It needs no secret: keys come from the configuration, and a peer that finds collisions
/// meets them one at a time.
struct ByteIndex: BitwiseCopyable {
  private struct Slot: BitwiseCopyable {
    var key: Bytes
    var hash: UInt64
    var value: UInt32
  }

  static let absent = UInt32.max

  /// Which end of a text the keys are compared with.
  enum Side: BitwiseCopyable {
    case start
    case end
  }

  private let slots: Table<Slot>
  private let ignoresCase: Bool
  private let side: Side
  /// Lengths that occur among the keys, ascending.
  let lengths: Table<Int>

  /// - Parameters:
  ///   - values: with keys that last for ever. Of equal ones the first counts.
  ///   - ignoresCase: ASCII letters are equal in both cases.
  init(_ values: [(key: Bytes, value: UInt32)], ignoresCase: Bool, side: Side = .start) {
    self.ignoresCase = ignoresCase
    self.side = side
    // At most half full, so that probes stay short.
    var capacity = 4
    while capacity < values.count * 2 { capacity *= 2 }
    var slots = [Slot](
      repeating: Slot(key: .empty, hash: 0, value: Self.absent), count: capacity)
    for (key, value) in values {
      let hash = Self.hash(key, ignoresCase, side)
      var at = Self.place(hash) & (capacity - 1)
      while slots[at].value != Self.absent { at = (at + 1) & (capacity - 1) }
      slots[at] = Slot(key: key, hash: hash, value: value)
    }
    self.slots = Table.configured(slots)
    lengths = Table.configured(Set(values.map(\.key.count)).sorted())
  }

  var isEmpty: Bool { lengths.isEmpty }

  /// The value of a whole text.
  func find(_ key: Bytes) -> UInt32? {
    guard !isEmpty else { return nil }
    return find(key, hash: Self.hash(key, ignoresCase, side))
  }

  /// Calls `body` with the length and the value of each key that `text` starts (or ends) with,
  /// shortest first.
  @inline(__always)
  func forEachAffix(of text: Bytes, _ body: (Int, UInt32) -> Void) {
    var hash = Self.seed
    var hashed = 0
    var index = 0
    while index < lengths.count, lengths[index] <= text.count {
      let length = lengths[index]
      while hashed < length {
        hash = Self.extend(hash, Self.byte(hashed, of: text, ignoresCase, side))
        hashed &+= 1
      }
      let affix = side == .end ? text.dropFirst(text.count &- length) : text[0, length]
      if let value = find(affix, hash: hash) { body(length, value) }
      index &+= 1
    }
  }

  private func find(_ key: Bytes, hash: UInt64) -> UInt32? {
    let mask = slots.count &- 1
    var at = Self.place(hash) & mask
    while true {
      let slot = slots[at]
      guard slot.value != Self.absent else { return nil }
      if slot.hash == hash, ignoresCase ? key.equalsIgnoringCase(slot.key) : key == slot.key {
        return slot.value
      }
      at = (at &+ 1) & mask
    }
  }

  // MARK: Hashing

  private static let seed: UInt64 = 0xCBF2_9CE4_8422_2325

  @inline(__always)
  private static func extend(_ hash: UInt64, _ byte: UInt8) -> UInt64 {
    (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3
  }

  /// The low bits of FNV see little of the last bytes.
  @inline(__always)
  private static func place(_ hash: UInt64) -> Int {
    Int(truncatingIfNeeded: hash ^ (hash >> 32))
  }

  @inline(__always)
  private static func byte(
    _ position: Int, of text: Bytes, _ ignoresCase: Bool, _ side: Side
  ) -> UInt8 {
    let byte = text[side == .end ? text.count &- 1 &- position : position]
    return ignoresCase ? ASCII.lower(byte) : byte
  }

  private static func hash(_ text: Bytes, _ ignoresCase: Bool, _ side: Side) -> UInt64 {
    var hash = seed
    var position = 0
    while position < text.count {
      hash = extend(hash, byte(position, of: text, ignoresCase, side))
      position &+= 1
    }
    return hash
  }
}
