import Engine
import HTTPCodec
import HTTPModel

/// The answer to a health check over HTTP/1.1, as its bytes come. As strict as towards any upstream;
/// the body is read to its end and thrown away.
struct HealthCheckAnswer: ~Copyable {
  enum Step {
    case more
    case whole
    case invalid
  }

  private(set) var status = 0
  private(set) var keepsAlive = false
  /// The host says that it would rather not be used (`x-envoy-degraded`).
  private(set) var isDegraded = false
  /// It wants no more requests from now on (`x-envoy-immediate-health-check-fail`).
  private(set) var asksToBeLeft = false
  private var parser = HTTP1HeadParser(capacity: Self.fields)
  private var buffer: [UInt8] = []
  private var body = BodyDecoder()
  /// What it answers is known; of the body, perhaps nothing.
  private(set) var hasHead = false
  private var interims = 0
  private let isHEAD: Bool

  /// Envoy's default for responses.
  private static let fields = 100
  /// A head, or trailers, beyond this is no health check's answer.
  private static let headBytes = 60 * 1024

  init(isHEAD: Bool) { self.isHEAD = isHEAD }

  /// The connection has ended: whether that is the answer's end.
  var endsWithConnection: Bool { hasHead && body.endsWithConnection }

  /// Takes what has come, in any pieces.
  mutating func take(_ bytes: Bytes, _ blocks: inout BlockPool) -> Step {
    for index in 0..<bytes.count { buffer.append(bytes[index]) }
    while !hasHead {
      let step = takeHead(&blocks)
      guard case .whole = step else { return step }
    }
    return takeBody()
  }

  /// `whole` when a head has been taken, an interim one perhaps.
  private mutating func takeHead(_ blocks: inout BlockPool) -> Step {
    var head = HeaderMap()
    var bytes: [UInt8] = []
    swap(&bytes, &buffer)
    var outcome = HeadOutcome.incomplete
    unsafe bytes.withUnsafeMutableBufferPointer { memory in
      guard let base = memory.baseAddress else { return }
      outcome = unsafe parser.parseResponse(base, memory.count, maxFields: Self.fields)
      guard case .complete(let length) = outcome else { return }
      head.load(
        unsafe Bytes(base: UnsafePointer(base), count: length), parser.found, from: &blocks)
    }
    swap(&bytes, &buffer)
    let step: Step
    switch outcome {
    case .complete(let length) where length <= Self.headBytes:
      buffer.removeFirst(length)
      step = note(head)
    case .incomplete where buffer.count <= Self.headBytes: step = .more
    default: step = .invalid
    }
    head.release(into: &blocks)
    return step
  }

  private mutating func note(_ head: borrowing HeaderMap) -> Step {
    status = parser.status
    if status < 200 {
      interims += 1
      return status == 101 || interims > Limits.interimResponses ? .invalid : .whole
    }
    let (framing, error) = HTTP1Framing.response(
      head, status: status, minor: parser.minor, toHEAD: isHEAD)
    guard error == nil else { return .invalid }
    hasHead = true
    keepsAlive = framing.keepAlive
    body = BodyDecoder(framing.body)
    isDegraded = head[Bytes("x-envoy-degraded")] != nil
    asksToBeLeft = head.contains(.envoyImmediateHealthCheckFail)
    return .whole
  }

  private mutating func takeBody() -> Step {
    var bytes: [UInt8] = []
    swap(&bytes, &buffer)
    var position = 0
    let step = unsafe bytes.withUnsafeMutableBufferPointer { memory in
      unsafe takeBody(memory, at: &position)
    }
    swap(&bytes, &buffer)
    buffer.removeFirst(position)
    // Nobody asked for what stands behind the answer.
    if case .whole = step, !buffer.isEmpty { keepsAlive = false }
    return step
  }

  private mutating func takeBody(
    _ memory: UnsafeMutableBufferPointer<UInt8>, at position: inout Int
  ) -> Step {
    guard !body.isDone else { return .whole }
    guard let base = memory.baseAddress else { return .more }
    let input = unsafe Bytes(base: UnsafePointer(base), count: memory.count)
    while true {
      switch body.next(input, at: &position) {
      case .data:
        if body.isDone { return .whole }
      case .end: return .whole
      case .needMore: return .more
      case .invalid: return .invalid
      case .trailers:
        let left = memory.count - position
        switch unsafe parser.parseTrailers(base + position, left, maxFields: Self.fields) {
        case .complete(let length):
          position += length
          body.finishTrailers()
          return .whole
        case .incomplete: return left <= Limits.trailerBytes ? .more : .invalid
        case .invalid: return .invalid
        }
      }
    }
  }
}
