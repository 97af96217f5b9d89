import CLinux
import Engine
import GRPC

/// Tells when a file may have changed: written in place, or replaced by another. Belongs to one loop.
final class FileWatch {
  private let descriptor: Int32
  private let loop: EventLoop
  private let timer: LoopTimer
  private let changed: () -> Void
  private var registration: UInt32?

  /// Editors and configuration tools do several things to a file in a row; what they leave after so
  /// many quiet milliseconds is meant (Istio: `PILOT_DEBOUNCE_AFTER`, the same).
  private static let quietMilliseconds: UInt64 = 100

  /// Watches the folder of the file, because the file itself may be replaced; nil when the system
  /// refuses to.
  init?(_ path: String, on loop: EventLoop, changed: @escaping () -> Void) {
    self.loop = loop
    self.changed = changed
    timer = LoopTimer(on: loop)
    descriptor = fl_watch_open()
    guard descriptor >= 0 else { return nil }
    let slash = path.lastIndex(of: "/")
    let directory = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
    guard unsafe fl_watch_directory(descriptor, directory) >= 0 else { return nil }
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

  private func stirred() {
    // Which file it was does not matter: whoever is told looks at its own.
    fl_watch_drain(descriptor)
    timer.set(milliseconds: Self.quietMilliseconds) { [unowned self] in changed() }
  }
}
