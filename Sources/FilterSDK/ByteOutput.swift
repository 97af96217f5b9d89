/// Memory that a filter fills, to put it in the place of what it was lent.
///
/// SAFETY: lent for the length of one closure, cannot be copied, and every byte is checked against
/// its capacity.
@safe
public struct ByteOutput: ~Copyable {
  @usableFromInline let start: UnsafeMutablePointer<UInt8>?
  @usableFromInline let capacity: Int
  /// How many bytes have been written.
  public private(set) var count = 0

  private init(_ memory: UnsafeMutableBufferPointer<UInt8>) {
    unsafe start = memory.baseAddress
    capacity = memory.count
  }

  /// Writes one byte, for which there must be room.
  public mutating func append(_ byte: UInt8) {
    precondition(count < capacity, "room for a byte")
    unsafe start.unsafelyUnwrapped[count] = byte
    count += 1
  }

  /// Writes bytes, for which there must be room.
  public mutating func append(_ bytes: ByteView) {
    for index in 0..<bytes.count { append(bytes[index]) }
  }

  /// Writes a number in four bytes, the greatest first.
  public mutating func append(bigEndian number: UInt32) {
    for shift: UInt32 in stride(from: 24, through: 0, by: -8) {
      append(UInt8(truncatingIfNeeded: number >> shift))
    }
  }

  /// What has been written; valid until the closure that was lent this returns.
  public var view: ByteView {
    unsafe ByteView(start: start.map { unsafe UnsafePointer($0) }, count: count)
  }

  /// Lends memory for so many bytes.
  public static func withRoom<Result>(
    for count: Int, _ body: (inout ByteOutput) -> Result
  ) -> Result {
    unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: max(count, 1)) { memory in
      var output = unsafe ByteOutput(memory)
      return body(&output)
    }
  }
}
