import Engine
import Telemetry

/// A random UUID of version 4 (RFC 9562 §5.4), as its 128 bits.
struct RandomUUID: BitwiseCopyable {
  private let high: UInt64
  private let low: UInt64

  init(from random: inout Random) {
    high = (random.next() & ~0xF000) | 0x4000
    low = (random.next() & 0x3FFF_FFFF_FFFF_FFFF) | 0x8000_0000_0000_0000
  }

  /// Lends its text, 36 bytes with lower-case digits, written into `memory`.
  func withText(_ memory: inout InlineArray<36, UInt8>, _ body: (Bytes) -> Void) {
    var span = memory.mutableSpan
    unsafe span.withUnsafeMutableBytes { buffer in
      guard let base = buffer.baseAddress else { return }
      // SAFETY: every group of digits, and every hyphen between them, stays within the 36 bytes.
      let first = hexDigits(UInt32(truncatingIfNeeded: high >> 32))
      let second = hexDigits(UInt32(truncatingIfNeeded: high))
      let third = hexDigits(UInt32(truncatingIfNeeded: low >> 32))
      let fourth = hexDigits(UInt32(truncatingIfNeeded: low))
      unsafe base.storeBytes(of: first, as: UInt64.self)
      unsafe base.storeBytes(
        of: UInt32(truncatingIfNeeded: second), toByteOffset: 9, as: UInt32.self)
      unsafe base.storeBytes(
        of: UInt32(truncatingIfNeeded: second >> 32), toByteOffset: 14, as: UInt32.self)
      unsafe base.storeBytes(
        of: UInt32(truncatingIfNeeded: third), toByteOffset: 19, as: UInt32.self)
      unsafe base.storeBytes(
        of: UInt32(truncatingIfNeeded: third >> 32), toByteOffset: 24, as: UInt32.self)
      unsafe base.storeBytes(of: fourth, toByteOffset: 28, as: UInt64.self)
      unsafe base.storeBytes(of: UInt8(ascii: "-"), toByteOffset: 8, as: UInt8.self)
      unsafe base.storeBytes(of: UInt8(ascii: "-"), toByteOffset: 13, as: UInt8.self)
      unsafe base.storeBytes(of: UInt8(ascii: "-"), toByteOffset: 18, as: UInt8.self)
      unsafe base.storeBytes(of: UInt8(ascii: "-"), toByteOffset: 23, as: UInt8.self)
      body(unsafe Bytes(base: UnsafePointer(base.assumingMemoryBound(to: UInt8.self)), count: 36))
    }
  }

  /// As a log shows it.
  func logValue(_ scratch: inout ByteSink) -> LogValue {
    var memory = InlineArray<36, UInt8>(repeating: 0)
    let mark = scratch.count
    withText(&memory) { scratch.append(LogBytes($0)) }
    return .bytes(scratch.bytes(since: mark))
  }
}

/// The eight lower-case hexadecimal digits of a number, the first one in the lowest byte.
private func hexDigits(_ number: UInt32) -> UInt64 {
  // Spread the nibbles over bytes, all at once.
  var digits = UInt64(number.byteSwapped)
  digits = (digits | digits << 16) & 0x0000_FFFF_0000_FFFF
  digits = (digits | digits << 8) & 0x00FF_00FF_00FF_00FF
  digits = (digits >> 4 | digits << 8) & 0x0F0F_0F0F_0F0F_0F0F
  // 39 more where a digit is a letter.
  let letters = ((digits &+ 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101
  return digits &+ 0x3030_3030_3030_3030 &+ letters &* 39
}
