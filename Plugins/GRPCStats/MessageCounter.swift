import FilterSDK

/// Counts the messages of a gRPC body: each has a byte of flags, four of length, and so many more.
/// The bytes may come in any pieces.
struct MessageCounter: BitwiseCopyable {
  /// Bytes of the next message's five that are known, and what they say so far.
  private var prefixBytes: UInt8 = 0
  private var length: UInt32 = 0
  /// Bytes of the present message that are still to come.
  private var rest: UInt32 = 0

  /// How many messages begin in these bytes. The first byte of one is its beginning, as in Envoy.
  mutating func count(_ bytes: ByteView) -> UInt64 {
    var begun: UInt64 = 0
    var index = 0
    while index < bytes.count {
      if rest > 0 {
        let step = min(Int(rest), bytes.count - index)
        rest -= UInt32(step)
        index += step
        continue
      }
      if prefixBytes == 0 {
        begun += 1
        length = 0
      } else {
        length = length << 8 | UInt32(bytes[index])
      }
      index += 1
      prefixBytes += 1
      guard prefixBytes == 5 else { continue }
      prefixBytes = 0
      rest = length
    }
    return begun
  }
}
