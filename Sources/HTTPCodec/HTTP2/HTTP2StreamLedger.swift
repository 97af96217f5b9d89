/// Which streams a peer has opened, and how the closed ones came to their end: nghttp2 forgets them
/// and would then ignore frames that RFC 9113 §5.1 wants answered.
///
/// It is told ids and says what to do; memory is fixed, so it knows the latest streams only.
package struct HTTP2StreamLedger {
  /// What becomes of a frame.
  package enum Verdict: Equatable {
    /// It belongs where it is, or nghttp2 sees what is wrong with it.
    case pass
    /// A stream id that was left out, or is not larger than those before (§5.1.1).
    case protocolError
    /// The stream has ended for the peer (§5.1, "closed").
    case streamClosed
  }

  /// Streams that are remembered, counted back from the latest. As many as may run at once unless the
  /// configuration says otherwise; of an older one a late frame is ignored.
  package static let remembered = 1024

  /// The largest id the peer has used.
  package private(set) var highest: Int32 = 0
  /// The largest id of which all is forgotten.
  private var forgotten: Int32 = 0
  private var opened = InlineArray<16, UInt64>(repeating: 0)
  private var resetByUs = InlineArray<16, UInt64>(repeating: 0)

  package init() {}

  /// The peer begins a header section on a stream.
  /// - Parameter isOpen: the stream exists.
  package mutating func headers(_ id: Int32, isOpen: Bool) -> Verdict {
    guard id > 0, id & 1 == 1 else { return .pass }
    if id > highest {
      open(id)
      return .pass
    }
    guard !isOpen, id > forgotten else { return .pass }
    guard bit(opened, id) else { return .protocolError }
    return bit(resetByUs, id) ? .pass : .streamClosed
  }

  /// The peer sends data on a stream.
  package func data(_ id: Int32, isOpen: Bool) -> Verdict {
    guard id > 0, id & 1 == 1, id <= highest, !isOpen, id > forgotten else { return .pass }
    return bit(resetByUs, id) ? .pass : .streamClosed
  }

  /// We have reset a stream: what was on its way meanwhile is not the peer's mistake.
  package mutating func noteReset(_ id: Int32) {
    guard id > forgotten, id <= highest, id & 1 == 1 else { return }
    resetByUs[Self.word(id)] |= Self.mask(id)
  }

  /// - Parameter id: odd, and larger than `highest`.
  private mutating func open(_ id: Int32) {
    // Places between the last id and this one belong to streams that were left out.
    let first = highest + (highest == 0 ? 1 : 2)
    if id - first > Int32(Self.remembered * 2) {
      opened = .init(repeating: 0)
      resetByUs = .init(repeating: 0)
    } else {
      for place in stride(from: first, through: id, by: 2) {
        opened[Self.word(place)] &= ~Self.mask(place)
        resetByUs[Self.word(place)] &= ~Self.mask(place)
      }
    }
    opened[Self.word(id)] |= Self.mask(id)
    highest = id
    forgotten = max(0, id &- Int32(Self.remembered * 2))
  }

  private func bit(_ set: borrowing InlineArray<16, UInt64>, _ id: Int32) -> Bool {
    set[Self.word(id)] & Self.mask(id) != 0
  }

  private static func word(_ id: Int32) -> Int { Int(id >> 1) % remembered / 64 }
  private static func mask(_ id: Int32) -> UInt64 { 1 &<< UInt64(id >> 1 & 63) }
}
