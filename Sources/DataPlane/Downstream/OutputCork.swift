import Engine

/// Gathers what one connection is sent in pieces during one wake-up, a head and the beginning of its
/// body, so that it leaves in one call. One connection at a time: another one's turn flushes it.
struct OutputCork: BitwiseCopyable {
  private var connection: Ref<Connection>?
  private var count = 0

  /// Pieces up to this size are copied; larger ones go out with the gathered ones in one call.
  private static let copiedBytes = 16 * 1024

  init() {}

  /// Adds bytes for `target`.
  mutating func write(_ bytes: Bytes, to target: Ref<Connection>, on loop: EventLoop) {
    if let connection, connection != target { flush(on: loop) }
    connection = target
    guard bytes.count <= Self.copiedBytes, count + bytes.count <= EventLoop.scratchBytes else {
      let gathered = unsafe Bytes(base: loop.state.value.sendScratch, count: count)
      count = 0
      connection = nil
      if gathered.isEmpty { return target.write(bytes, on: loop) }
      return target.write(gathered, bytes, on: loop)
    }
    let writer = unsafe loop.state.value.sendScratch + count
    unsafe writer.update(from: bytes.base, count: bytes.count)
    count += bytes.count
  }

  /// Lends the room behind what is gathered for `target`: how a head is written in place. What does
  /// not fit is reported by the writer's `overflowed`, and then nothing is added.
  mutating func compose(
    for target: Ref<Connection>, on loop: EventLoop, _ body: (inout ByteWriter) -> Void
  ) -> Bool {
    if let connection, connection != target { flush(on: loop) }
    connection = target
    if count > 0 { flush(on: loop) }
    connection = target
    var writer = unsafe ByteWriter(
      base: loop.state.value.sendScratch, capacity: EventLoop.sendScratchBytes)
    body(&writer)
    guard !writer.overflowed else { return false }
    count = writer.count
    return true
  }

  /// Sends what is gathered.
  mutating func flush(on loop: EventLoop) {
    guard let target = connection else { return }
    connection = nil
    let n = count
    count = 0
    guard n > 0 else { return }
    target.write(unsafe Bytes(base: loop.state.value.sendScratch, count: n), on: loop)
  }

  /// Drops what is gathered for a connection that is being closed.
  mutating func forget(_ target: Ref<Connection>) {
    guard let connection, connection == target else { return }
    self.connection = nil
    count = 0
  }
}
