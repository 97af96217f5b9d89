/// Addresses that share their first bits: `10.0.0.0/8`.
package struct AddressRange: BitwiseCopyable {
  private let bytes: InlineArray<16, UInt8>
  package let bits: Int
  package let isIPv6: Bool

  /// - Parameter bits: more than the address has count as all of them.
  package init(_ address: SocketAddress, bits: Int) {
    isIPv6 = address.isIPv6
    self.bits = min(max(bits, 0), address.isIPv6 ? 128 : 32)
    var bytes = address.ipBytes
    for index in 0..<16 { bytes[index] &= Self.mask(index, self.bits) }
    self.bytes = bytes
  }

  /// Every address of its family.
  package var isEverything: Bool { bits == 0 }

  /// The address is of the same family, and within.
  package func contains(_ address: SocketAddress) -> Bool {
    guard !address.isUnix, address.isIPv6 == isIPv6 else { return false }
    let other = address.ipBytes
    var index = 0
    while index &* 8 < bits {
      guard other[index] & Self.mask(index, bits) == bytes[index] else { return false }
      index &+= 1
    }
    return true
  }

  /// The bits of byte `index` that count.
  private static func mask(_ index: Int, _ bits: Int) -> UInt8 {
    let left = bits - index * 8
    if left >= 8 { return 0xFF }
    return left <= 0 ? 0 : ~(0xFF >> UInt8(left))
  }

  package static func == (a: AddressRange, b: AddressRange) -> Bool {
    guard a.bits == b.bits, a.isIPv6 == b.isIPv6 else { return false }
    for index in 0..<16 where a.bytes[index] != b.bytes[index] { return false }
    return true
  }
}
