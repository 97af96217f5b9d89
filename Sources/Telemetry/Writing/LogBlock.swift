import CLinux
import Glibc

/// Memory that travels from a worker to the writer and back: lines for one target.
@safe
@usableFromInline
package struct LogBlock {
  // SAFETY: at any moment one thread owns a block: the worker that fills it, or, after it went
  // through a ring, the writer. `LogWriterTests` runs both under the thread sanitizer.
  private let header: UnsafeMutablePointer<Header>

  private struct Header {
    var target: UInt32 = 0
    var used: UInt32 = 0
    var lines: UInt32 = 0
    /// When the first line came, in milliseconds of the producer's clock.
    var began: UInt64 = 0
  }

  /// Room for lines: what Envoy collects before it writes, about three hundred lines.
  @usableFromInline
  package static let bytes = 64 * 1024

  /// Takes a block from the system, or nil when it has no memory.
  init?() {
    guard let raw = unsafe malloc(MemoryLayout<Header>.stride + Self.bytes) else { return nil }
    unsafe header = raw.bindMemory(to: Header.self, capacity: 1)
    unsafe header.initialize(to: Header())
  }

  /// The block at an address that `address` gave.
  init?(address: UInt64) {
    guard let header = unsafe UnsafeMutablePointer<Header>(bitPattern: UInt(address)) else {
      return nil
    }
    unsafe self.header = header
  }

  /// How a ring carries the block.
  var address: UInt64 { unsafe UInt64(UInt(bitPattern: header)) }

  func deallocate() { unsafe free(header) }

  /// Makes the block ready for its next lines.
  func begin(target: UInt32, now: UInt64) {
    unsafe header.pointee = Header(target: target, began: now)
  }

  var target: UInt32 { unsafe header.pointee.target }
  @usableFromInline
  package var used: Int { unsafe Int(header.pointee.used) }
  var lines: UInt64 { unsafe UInt64(header.pointee.lines) }
  var began: UInt64 { unsafe header.pointee.began }

  /// A sink over the room that is left.
  @usableFromInline
  package func makeSink() -> ByteSink {
    unsafe ByteSink(base: start + used, capacity: Self.bytes - used)
  }

  /// Keeps the line that `makeSink`'s sink took.
  @usableFromInline
  package func commit(_ sink: ByteSink) {
    unsafe header.pointee.used += UInt32(sink.count)
    unsafe header.pointee.lines += 1
  }

  /// What has been written so far, from `offset` on.
  func content(from offset: Int) -> LogBytes {
    unsafe LogBytes(start: start + offset, count: used - offset)
  }

  private var start: UnsafeMutablePointer<UInt8> {
    unsafe UnsafeMutableRawPointer(header + 1).assumingMemoryBound(to: UInt8.self)
  }
}
