import CLinux

/// A worker's working memory for rendering: a scratch area for values that exist nowhere yet, and
/// the calendar texts of the current second. One per worker, or one per thread that renders.
@safe
@usableFromInline
package struct LogRenderer {
  // SAFETY: used by one thread; the owner deallocates it when that thread is done.
  @usableFromInline
  package let scratch: UnsafeMutablePointer<UInt8>
  private let slots: UnsafeMutablePointer<CalendarSlot>
  private let texts: UnsafeMutablePointer<UInt8>

  /// As much as the longest head a listener accepts, so that a decoded query always fits.
  @usableFromInline
  package static let scratchBytes = 64 * 1024
  /// More calendar pieces than this share slots and are printed anew each time.
  private static let slotCount = 32

  @usableFromInline
  package init() {
    unsafe scratch = .allocate(capacity: Self.scratchBytes)
    unsafe slots = .allocate(capacity: Self.slotCount)
    unsafe texts = .allocate(capacity: Self.slotCount * CalendarSlot.textBytes)
    for index in 0..<Self.slotCount { unsafe (slots + index).initialize(to: CalendarSlot()) }
  }

  @usableFromInline
  package func deallocate() {
    unsafe scratch.deallocate()
    unsafe slots.deallocate()
    unsafe texts.deallocate()
  }

  /// An empty sink over the scratch area.
  @inlinable
  package func makeScratch() -> ByteSink {
    unsafe ByteSink(base: scratch, capacity: Self.scratchBytes)
  }

  /// Appends the text of a calendar piece, printing it at most once a second.
  @usableFromInline
  package func appendCalendar(
    _ piece: TimePiece, format: LogBytes, seconds: Int64, local: Bool, to sink: inout ByteSink
  ) {
    let slot = Int(piece.id) % Self.slotCount
    let kept = unsafe slots[slot]
    let room = unsafe texts + slot * CalendarSlot.textBytes
    if kept.id == piece.id && kept.seconds == seconds {
      return sink.append(unsafe LogBytes(start: room, count: kept.length))
    }
    let mark = sink.count
    unsafe sink.appendRaw { into, room in
      guard let format = unsafe format.start else { return 0 }
      return unsafe into.withMemoryRebound(to: CChar.self, capacity: room) { into in
        unsafe format.withMemoryRebound(to: CChar.self, capacity: 1) { format in
          unsafe telemetry_format_time(into, room, format, seconds, local)
        }
      }
    }
    let text = sink.bytes(since: mark)
    guard text.count <= CalendarSlot.textBytes, let start = unsafe text.start else { return }
    unsafe room.update(from: start, count: text.count)
    unsafe slots[slot] = CalendarSlot(id: piece.id, length: text.count, seconds: seconds)
  }
}

/// Which calendar piece a slot holds, and of which second.
private struct CalendarSlot {
  /// Longer texts are printed anew each time.
  static let textBytes = 64

  var id: UInt32 = 0
  var length = 0
  var seconds: Int64 = .min
}
