import Engine

/// Follows a stream that is begun anew whenever it ends. Called on the loop's thread.
package protocol RPCPersistentStreamHandler: AnyObject {
  /// A stream has begun, the first or another one: the peer knows nothing, and messages may be sent.
  func opened()
  /// A message from the server.
  func received(_ message: [UInt8])
  /// The stream has ended; the next one begins in so many milliseconds.
  func ended(_ status: RPCStatus, retryIn milliseconds: UInt64)
}

/// A bidirectional stream that should always be there, such as a proxy's to its control plane: when it
/// ends it is begun again, after a random time that grows with every failure in a row.
///
///     let ads = RPCPersistentStream(channel, path: path, handler: self)
///     ads.start()
///
/// `self.opened` sends the first messages with `ads.send`.
package final class RPCPersistentStream {
  private let channel: RPCChannel
  private let path: String
  private let metadata: RPCFields
  private weak var handler: RPCPersistentStreamHandler?
  private var backoff: RPCBackoff
  private let timer: LoopTimer
  private var call: RPCCall?

  /// The handler is not kept.
  package init(
    _ channel: RPCChannel, path: String, metadata: RPCFields = [],
    backoff: RPCBackoff = RPCBackoff(), handler: RPCPersistentStreamHandler
  ) {
    self.channel = channel
    self.path = path
    self.metadata = metadata
    self.backoff = backoff
    self.handler = handler
    timer = LoopTimer(on: channel.runtime.loop)
  }

  deinit { stop() }

  /// A stream has begun and not ended, though its connection may still be on its way.
  package var isOpen: Bool { call != nil }

  /// Bytes that wait for the server.
  package var queuedBytes: Int { call?.queuedBytes ?? 0 }

  /// Begins.
  package func start() {
    guard call == nil else { return }
    timer.cancel()
    call = channel.start(path, metadata: metadata, handler: Attempt(self))
    handler?.opened()
  }

  /// Ends, and does not begin again.
  package func stop() {
    timer.cancel()
    call?.cancel()
    call = nil
  }

  /// Queues a message on the stream at hand; false when there is none.
  @discardableResult
  package func send(_ message: [UInt8]) -> Bool {
    call?.send(message)
    return call != nil
  }

  fileprivate func received(_ message: [UInt8]) {
    // As in Envoy: only whoever answers is well again, not whoever merely accepts.
    backoff.reset()
    handler?.received(message)
  }

  fileprivate func ended(_ status: RPCStatus) {
    call = nil
    let wait = backoff.next(random: channel.runtime.loop.state.value.random.next())
    timer.set(milliseconds: wait) { [unowned self] in start() }
    handler?.ended(status, retryIn: wait)
  }

  /// The handler of one stream: does not keep what may be let go meanwhile.
  private final class Attempt: RPCCallHandler {
    private weak var stream: RPCPersistentStream?

    init(_ stream: RPCPersistentStream) { self.stream = stream }

    func received(_ message: [UInt8]) { stream?.received(message) }
    func ended(_ status: RPCStatus) { stream?.ended(status) }
  }
}
