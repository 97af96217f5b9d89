import CLinux
import Engine
import Resources
import TLS
import Telemetry

/// Follows the files that certificates, keys and authorities were read from. When some have changed,
/// new connections get what is in them now; those there are keep what they began with. What does not
/// fit together is refused, and the old stays.
final class CertificateWatcher {
  private unowned let server: Server
  private let descriptor: Int32
  private var timer = TimerID.none
  private var watched: Set<String> = []

  /// Files that belong together are written one after the other: how long the first waits for the
  /// others.
  private static let settleMilliseconds: UInt64 = 100

  init(_ server: Server) {
    self.server = server
    descriptor = fl_watch_open()
    guard descriptor >= 0 else {
      ProcessLog.shared.warning(.secret, "cannot watch files: changed certificates go unnoticed")
      return
    }
    // SAFETY: the server keeps the watcher as long as its loop runs.
    _ = unsafe server.loop.register(
      descriptor, events: FL_EPOLL_READ, context: Unmanaged.passUnretained(self).toOpaque()
    ) { raw, _ in
      unsafe Unmanaged<CertificateWatcher>.fromOpaque(raw).takeUnretainedValue().changed()
    }
    for (_, source) in server.config.tls.all { follow(source) }
  }

  /// From now on, changes of its files are noticed.
  func follow(_ source: TLSSource) {
    guard descriptor >= 0 else { return }
    for directory in source.fileNames.directories where watched.insert(directory).inserted {
      guard unsafe fl_watch_directory(descriptor, directory) < 0 else { continue }
      watched.remove(directory)
      ProcessLog.shared.warning(
        .secret, "cannot watch '\(directory)': changed certificates in it go unnoticed")
    }
  }

  private func changed() {
    fl_watch_drain(descriptor)
    // Not begun anew by every event: a directory in which something always happens is read too.
    guard timer == .none else { return }
    timer = unsafe server.loop.after(
      milliseconds: Self.settleMilliseconds,
      context: Unmanaged.passUnretained(self).toOpaque()
    ) { raw, _ in
      unsafe Unmanaged<CertificateWatcher>.fromOpaque(raw).takeUnretainedValue().reload()
    }
  }

  private func reload() {
    timer = .none
    for (number, source) in server.config.tls.all
    where source.context != nil && source.hasChanged() {
      let diagnostics = Diagnostics(files: [])
      guard source.rebuild(diagnostics) != nil else {
        server.config.store.main.add(source.stats.value.refused)
        for problem in diagnostics.all {
          ProcessLog.shared.error(
            .secret,
            "changed certificate refused, the old one stays: \(source.path): "
              + problem.message)
        }
        continue
      }
      ProcessLog.shared.info(.secret, "changed certificate taken over: \(source.path)")
      server.publish(source, at: number)
    }
  }
}

extension Server {
  /// Has new connections begin with the context that a TLS configuration has now; counted when every
  /// worker knows it.
  func publish(_ source: TLSSource, at number: Int) {
    let store = config.store
    let updated = source.stats.value.updated
    guard let context = source.context else { return store.main.add(updated) }
    certificateWatcher?.follow(source)
    source.publishExpiry(in: store)
    onEveryWorker { worker in
      worker.value.tls.places[number].value.adopt(context)
    } then: {
      store.main.add(updated)
    }
  }
}
