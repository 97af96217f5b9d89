import CLinux
import CNghttp2
import Engine

/// Memory of one worker's HTTP/2 sessions: what nghttp2 gives back is handed out again, without a
/// lock and without asking the system.
@safe
package struct HTTP2Memory: ~Copyable {
  /// Sizes from 32 bytes to 32 KiB, in powers of two: the largest is the buffer of one frame.
  private static let classes = 11
  private static let smallest = 32
  /// Idle memory kept per size: enough for a steady load, little enough that a burst is given back.
  private static let keptBytes = 1024 * 1024
  /// Stands in front of each piece and says of which size it is; keeps malloc's alignment.
  private static let headerBytes = 16

  // SAFETY: each list holds pieces of its size only, linked through their first word.
  private var free = unsafe InlineArray<11, UnsafeMutableRawPointer?>(repeating: nil)
  private var kept = InlineArray<11, Int>(repeating: 0)
  /// Bytes handed out and not yet returned.
  package private(set) var liveBytes = 0

  package init() {}

  private static func sizeClass(_ size: Int) -> Int {
    size <= smallest ? 0 : Int.bitWidth &- (size &- 1).leadingZeroBitCount &- 5
  }

  private static func bytes(ofClass index: Int) -> Int { smallest << index }

  /// Memory for `size` bytes; nil when there is none.
  fileprivate mutating func take(_ size: Int) -> UnsafeMutableRawPointer? {
    let index = Self.sizeClass(size)
    let isLarge = index >= Self.classes
    let capacity = isLarge ? size : Self.bytes(ofClass: index)
    if !isLarge, let piece = unsafe free[index] {
      unsafe free[index] = piece.load(as: UnsafeMutableRawPointer?.self)
      kept[index] &-= capacity
      liveBytes &+= capacity
      return unsafe piece
    }
    guard let whole = unsafe malloc(capacity &+ Self.headerBytes) else { return nil }
    unsafe whole.storeBytes(of: capacity, as: Int.self)
    liveBytes &+= capacity
    return unsafe whole + Self.headerBytes
  }

  fileprivate mutating func release(_ piece: UnsafeMutableRawPointer) {
    let capacity = unsafe Self.capacity(of: piece)
    liveBytes &-= capacity
    let index = Self.sizeClass(capacity)
    guard index < Self.classes, kept[index] < Self.keptBytes else {
      unsafe CLinux.free(piece - Self.headerBytes)
      return
    }
    unsafe piece.storeBytes(of: free[index], as: UnsafeMutableRawPointer?.self)
    unsafe free[index] = piece
    kept[index] &+= capacity
  }

  fileprivate static func capacity(of piece: UnsafeMutableRawPointer) -> Int {
    unsafe (piece - headerBytes).load(as: Int.self)
  }
}

extension Ref where Value == HTTP2Memory {
  /// The functions that nghttp2 asks for memory with.
  var table: nghttp2_mem {
    unsafe nghttp2_mem(
      mem_user_data: raw,
      malloc: { size, memory in
        guard let memory = unsafe memory else { return nil }
        return unsafe Ref<HTTP2Memory>(raw: memory).value.take(size)
      },
      free: { piece, memory in
        guard let piece = unsafe piece, let memory = unsafe memory else { return }
        unsafe Ref<HTTP2Memory>(raw: memory).value.release(piece)
      },
      calloc: { count, size, memory in
        guard let memory = unsafe memory else { return nil }
        let (bytes, overflow) = count.multipliedReportingOverflow(by: size)
        guard !overflow, let piece = unsafe Ref<HTTP2Memory>(raw: memory).value.take(bytes) else {
          return nil
        }
        unsafe memset(piece, 0, bytes)
        return unsafe piece
      },
      realloc: { piece, size, memory in
        guard let memory = unsafe memory else { return nil }
        let pool = unsafe Ref<HTTP2Memory>(raw: memory)
        guard let piece = unsafe piece else { return unsafe pool.value.take(size) }
        let capacity = unsafe HTTP2Memory.capacity(of: piece)
        if size <= capacity { return unsafe piece }
        guard let larger = unsafe pool.value.take(size) else { return nil }
        unsafe memcpy(larger, piece, capacity)
        unsafe pool.value.release(piece)
        return unsafe larger
      })
  }
}
