import CLinux
import Glibc

/// Wakes the writer: an eventfd, rung at most once until the writer has listened.
@safe
struct LogBell: @unchecked Sendable {
  // SAFETY: the cell is atomic; both are freed by the `LogWriter` after all threads ended.
  private let rung: UnsafeMutablePointer<UInt64>
  let descriptor: Int32

  init?() {
    descriptor = eventfd(0, Int32(O_CLOEXEC) | Int32(O_NONBLOCK))
    guard descriptor >= 0 else { return nil }
    unsafe rung = allocateCells(1)
  }

  func ring() {
    guard unsafe telemetry_exchange(rung, 1) == 0 else { return }
    var one: UInt64 = 1
    _ = unsafe write(descriptor, &one, 8)
  }

  /// Takes the ring back; what was pushed before it is visible afterwards.
  func silence() {
    var count: UInt64 = 0
    _ = unsafe read(descriptor, &count, 8)
    _ = unsafe telemetry_exchange(rung, 0)
  }

  func deallocate() {
    close(descriptor)
    unsafe freeCells(rung)
  }
}
