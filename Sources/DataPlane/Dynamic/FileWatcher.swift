import CLinux
import Engine
import Telemetry

/// Tells when a file is moved to a watched place: only a move replaces a whole file at once, so, as in
/// Envoy, only moves count. Main thread.
final class FileWatcher {
  /// Ends a watch when nobody holds it any more.
  final class Watch {
    fileprivate let id: Int
    private weak var watcher: FileWatcher?

    fileprivate init(id: Int, watcher: FileWatcher) {
      self.id = id
      self.watcher = watcher
    }

    deinit { watcher?.end(id) }
  }

  private struct Place {
    let directory: Int32
    /// nil: whatever is moved there.
    let file: String?
    let onMove: () -> Void
  }

  /// Names that fit into one read; more events come with the next.
  private static let bufferBytes = 16 * 1024

  private let descriptor: Int32
  private var places: [Int: Place] = [:]
  private var lastID = 0

  init(on loop: EventLoop) {
    descriptor = fl_watch_open()
    guard descriptor >= 0 else { return }
    // SAFETY: the server keeps the watcher as long as its loop runs.
    _ = unsafe loop.register(
      descriptor, events: FL_EPOLL_READ, context: Unmanaged.passUnretained(self).toOpaque()
    ) { raw, _ in
      unsafe Unmanaged<FileWatcher>.fromOpaque(raw).takeUnretainedValue().readEvents()
    }
  }

  /// Watches a place; nil when the system refuses to.
  func watch(directory: String, file: String?, onMove: @escaping () -> Void) -> Watch? {
    guard descriptor >= 0 else { return nil }
    let number = unsafe fl_watch_moves(descriptor, directory)
    guard number >= 0 else { return nil }
    lastID += 1
    places[lastID] = Place(directory: number, file: file, onMove: onMove)
    return Watch(id: lastID, watcher: self)
  }

  private func end(_ id: Int) {
    guard let place = places.removeValue(forKey: id) else { return }
    let isShared = places.values.contains { $0.directory == place.directory }
    if !isShared { fl_watch_forget(descriptor, place.directory) }
  }

  private func readEvents() {
    var moved: [(directory: Int32, file: String)] = []
    unsafe withUnsafeTemporaryAllocation(byteCount: Self.bufferBytes, alignment: 16) { buffer in
      guard let base = unsafe buffer.baseAddress?.assumingMemoryBound(to: CChar.self) else {
        return
      }
      while true {
        let count = unsafe fl_watch_read(descriptor, base, buffer.count)
        guard count > 0 else { return }
        var offset = 0
        while offset < count {
          var event = unsafe fl_watch_event()
          offset = unsafe fl_watch_next(base, offset, &event)
          unsafe moved.append((event.watch, event.name.map { unsafe String(cString: $0) } ?? ""))
        }
      }
    }
    // Several moves are one reason to look. Whoever is told may end watches, or begin others.
    let concerned = places.filter { _, place in
      moved.contains { event in
        event.directory < 0
          || event.directory == place.directory && (place.file.map { $0 == event.file } ?? true)
      }
    }
    for id in concerned.keys.sorted() { places[id]?.onMove() }
  }
}
