import CLinux
import Engine
import GRPC

/// Tells when something in some directories may have changed. Belongs to one loop.
final class FileWatch {
  private let descriptor: Int32
  private let loop: EventLoop
  private let timer: LoopTimer
  private let quietMilliseconds: UInt64
  private let changed: () -> Void
  private var registration: UInt32?

  /// Editors and configuration tools do several things to a file in a row; what they leave after so
  /// many quiet milliseconds is meant. Istio waits 100 ms for what comes from a cluster
  /// (`PILOT_DEBOUNCE_AFTER`).
  static let defaultQuietMilliseconds: UInt64 = 50

  /// Nil when the system has no descriptor left for it.
  init?(
    on loop: EventLoop, quietMilliseconds: UInt64 = FileWatch.defaultQuietMilliseconds,
    changed: @escaping () -> Void
  ) {
    self.loop = loop
    self.changed = changed
    self.quietMilliseconds = quietMilliseconds
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
    guard !timer.isSet else { return }
    timer.set(milliseconds: quietMilliseconds) { [unowned self] in changed() }
  }
}
