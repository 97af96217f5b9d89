import HTTPCodec

/// The answer to a question that is not gRPC: its head. The body has been thrown away.
package struct PlainAnswer {
  package let status: Int
  package let fields: RPCFields
}

/// A request over HTTP/2 whose answer's head is all that matters, such as a health check.
package final class PlainQuestion: RPCStream {
  private var then: ((PlainAnswer?) -> Void)?
  private var answer: PlainAnswer?

  /// - Parameter then: called once, with the answer when it has come to its end, or with nil when there
  ///   will be none; never from within the call that asks.
  init(then: @escaping (PlainAnswer?) -> Void) {
    self.then = then
    super.init()
  }

  /// Gives it up; nothing is told any more.
  package func cancel() {
    then = nil
    guard !isOver else { return }
    reset(HTTP2Code.cancel)
    end()
  }

  private func conclude(_ answer: PlainAnswer?) {
    guard !isOver else { return }
    end()
    let then = self.then
    self.then = nil
    then?(answer)
  }

  override func headCame(_ fields: RPCFields) {
    answer = PlainAnswer(status: Int(fields[":status"] ?? "") ?? 0, fields: fields)
  }

  override func peerFinished(trailers: RPCFields?) { conclude(answer) }

  override func peerFailed(_ status: RPCStatus) {
    guard !isOver else { return }
    reset(HTTP2Code.cancel)
    conclude(nil)
  }

  override func lost(_ status: RPCStatus) { conclude(nil) }
}
