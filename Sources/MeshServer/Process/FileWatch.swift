import CLinux
import Engine
import GRPC

/// Tells when something in some directories may have changed. Belongs to one loop.
package final class FileWatch {
  private let descriptor: Int32
  private let loop: EventLoop
  private let timer: LoopTimer
  private let debounce: Debounce
  private let changed: () -> Void
  /// When the first of several changes came; 0 while there is none to tell of.
  private var firstAt: UInt64 = 0
  private var registration: UInt32?

  /// How changes that come together are told of once. Editors and configuration tools do several things
  /// to a file in a row, and to several files; what they leave when they are quiet is meant.
  package struct Debounce: Sendable {
    /// How long nothing may have happened (Istio: `PILOT_DEBOUNCE_AFTER`, 100 ms).
    package var quietMilliseconds: UInt64 = 50
    /// After how long it is told of though there is no quiet (Istio: `PILOT_DEBOUNCE_MAX`, 10 s).
    package var longestMilliseconds: UInt64 = 1000

    package init() {}

    /// How long to wait when something has happened, so long after the first of it.
    func wait(after elapsed: UInt64) -> UInt64 {
      min(quietMilliseconds, longestMilliseconds - min(elapsed, longestMilliseconds))
    }
  }

  /// Nil when the system has no descriptor left for it.
  init?(
    on loop: EventLoop, debounce: Debounce = Debounce(), changed: @escaping () -> Void
  ) {
    self.loop = loop
    self.changed = changed
    self.debounce = debounce
    timer = LoopTimer(on: loop)
    descriptor = fl_watch_open()
    guard descriptor >= 0 else { return nil }
    // SAFETY: `deinit` unregisters, on the same thread.
    registration = unsafe loop.register(
      descriptor, events: FL_EPOLL_READ, context: Unmanaged.passUnretained(self).toOpaque()
    ) { raw, _ in
      unsafe Unmanaged<FileWatch>.fromOpaque(raw).takeUnretainedValue().stirred()
    }
    guard registration != nil else { return nil }
  }

  deinit {
    if let registration { loop.release(registration) }
    if descriptor >= 0 { close(descriptor) }
  }

  /// Watches a directory, too; once is enough, and again does no harm. False when the system refuses to.
  @discardableResult
  func add(directory: String) -> Bool {
    unsafe fl_watch_everything(descriptor, directory) >= 0
  }

  /// Watches the directory of a file, because the file itself may be replaced.
  func add(directoryOf path: String) -> Bool {
    let slash = path.lastIndex(of: "/")
    return add(
      directory: slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? ".")
  }

  private func stirred() {
    // Which file it was does not matter: whoever is told looks for itself.
    fl_watch_drain(descriptor)
    let now = fl_monotonic_ns()
    if firstAt == 0 { firstAt = now }
    timer.set(milliseconds: debounce.wait(after: (now - firstAt) / 1_000_000)) { [unowned self] in
      firstAt = 0
      changed()
    }
  }
}
