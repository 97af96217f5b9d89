import CLinux
import Engine
import TLS

/// One health check's connection, on the main thread: connects, sends, and tells what comes of it.
@safe
final class CheckSocket {
  enum Event {
    case connected
    /// Valid for the length of the call.
    case bytes(Bytes)
    /// It ended, or never began.
    case ended
  }

  /// Not called from within a call of this object, but for `connect`.
  var onEvent: (Event) -> Void = { _ in }
  private let loop: EventLoop
  // SAFETY: one connection, freed when the loop has left its callbacks, after it was closed.
  private let connection: Ref<Connection>

  init(on loop: EventLoop) {
    self.loop = loop
    let memory = UnsafeMutablePointer<Connection>.allocate(capacity: 1)
    unsafe memory.initialize(to: Connection())
    connection = unsafe Ref(memory)
  }

  deinit {
    connection.close(on: loop)
    unsafe loop.later(context: connection.raw, tag: 0) { raw, _ in
      let memory = unsafe Ref<Connection>(raw: raw).pointer
      unsafe memory.deinitialize(count: 1)
      unsafe memory.deallocate()
    }
  }

  nonisolated(unsafe) private static let events = Ref<ConnectionEvents>.immortal(
    unsafe ConnectionEvents(
      readable: { unsafe CheckSocket.at($0).readable() },
      drained: { _ in },
      connected: { unsafe CheckSocket.at($0).connected($1) },
      hungUp: { unsafe CheckSocket.at($0).readable() }))

  /// SAFETY: the owner of an open connection is the object that opened it, which closes it when it
  /// goes.
  private static func at(_ raw: UnsafeMutableRawPointer) -> CheckSocket {
    unsafe Unmanaged<CheckSocket>.fromOpaque(raw).takeUnretainedValue()
  }

  var isOpen: Bool { connection.value.isOpen }

  /// Begins to connect, from where the cluster's connections begin.
  /// - Parameter prepare: puts TLS in between and a PROXY header in front, where they are to be; false
  ///   when that fails.
  func connect(
    to address: SocketAddress, from source: SourceBinding?, prepare: (Ref<Connection>) -> Bool
  ) {
    let error = unsafe connection.connect(
      to: address, from: source, on: loop, events: Self.events,
      owner: Unmanaged.passUnretained(self).toOpaque())
    guard error == 0 else { return onEvent(.ended) }
    if !prepare(connection) { end() }
  }

  func send(_ bytes: [UInt8]) { connection.write(bytes, on: loop) }

  func close() { connection.close(on: loop) }

  private func connected(_ error: Int32) {
    guard error == 0 else { return end() }
    onEvent(.connected)
  }

  private func readable() {
    while connection.value.isOpen {
      let scratch = unsafe loop.state.value.receiveScratch
      switch unsafe connection.read(into: scratch, capacity: EventLoop.scratchBytes) {
      case .bytes(let count):
        onEvent(.bytes(unsafe Bytes(base: UnsafePointer(scratch), count: count)))
      case .wait: return
      case .end, .failed: return end()
      }
    }
  }

  private func end() {
    close()
    onEvent(.ended)
  }
}
