import Engine
import HTTPCodec
import HTTPModel

// From bytes to requests: heads, bodies, trailers.
extension Ref where Value == DownstreamConnection {
  // MARK: Head

  func consumeHead(_ bytes: UnsafeMutablePointer<UInt8>, _ n: Int) -> Int {
    let worker = held
    let manager = self.manager
    if value.requests == 0, manager.value.codec == .auto,
      let used = unsafe consumePreface(bytes, n)
    {
      return used
    }
    if value.headStartedAt == 0 {
      headBegan()
    } else if n < value.parseAgainAt, n <= manager.value.maxHeadBytes,
      case .incomplete = value.scanner.scan(unsafe Bytes(base: UnsafePointer(bytes), count: n))
    {
      return 0
    }
    let outcome = unsafe worker.value.parser.parseRequest(
      bytes, n, maxFields: manager.value.maxFields)
    switch outcome {
    case .complete(let length) where length <= manager.value.maxHeadBytes:
      headEnded()
      unsafe beginRequest(bytes + worker.value.parser.start, length - worker.value.parser.start)
      return length
    case .complete:
      refuseHead(.headTooLarge)
    case .incomplete:
      if n > manager.value.maxHeadBytes {
        refuseHead(.headTooLarge)
        return n
      }
      // Parsing all of it for every byte that comes would be work without bound; between the steps
      // only its end is looked for.
      value.parseAgainAt = n + n / 4 + 128
      return 0
    case .invalid(let error):
      refuseHead(error)
    }
    return n
  }

  private func headBegan() {
    if value.requests == 0 { countProtocol() }
    value.headStartedAt = loop.now
    value.scanner = HeadScanner()
    startHeadTimer()
  }

  func headEnded() {
    value.headStartedAt = 0
    if value.headTimer != .none {
      loop.cancel(value.headTimer)
      value.headTimer = .none
    }
  }

  private func beginRequest(_ head: UnsafeMutablePointer<UInt8>, _ length: Int) {
    let worker = held
    let stream = newStream()
    unsafe stream.value.requestHead.load(
      Bytes(base: UnsafePointer(head), count: length), worker.value.parser.found,
      from: &loop.state.value.blocks)
    let minor = worker.value.parser.minor
    value.isHTTP10 = minor == 0
    guard !stream.value.requestHead.overflowed else {
      value.keepAlive = false
      value.phase = .waiting
      value.closeReason = .codecError
      return stream.refuse(.headTooLarge)
    }
    let (framing, error) = HTTP1Framing.request(stream.value.requestHead, minor: minor)
    value.keepAlive = framing.keepAlive
    value.decoder = BodyDecoder(framing.body)
    let hasBody = !framing.body.isNone
    value.phase = hasBody ? .body : .waiting
    let text = unsafe Bytes(base: UnsafePointer(head), count: length)
    let method = text[worker.value.parser.method.lowerBound, worker.value.parser.method.upperBound]
    let target = text[worker.value.parser.target.lowerBound, worker.value.parser.target.upperBound]
    if let error {
      value.closeReason = .codecError
      stream.refuse(error)
      return
    }
    stream.begin(
      method: method, target: target, minor: minor,
      // Behind a body, nobody could tell where the new protocol begins: such a request stays HTTP
      // (RFC 9110 §7.8 lets us ignore Upgrade).
      wantsUpgrade: framing.wantsUpgrade && !hasBody, endStream: !hasBody)
  }

  func newStream() -> Ref<RequestStream> {
    let worker = held
    let stream = worker.value.streams.take()
    value.stream = stream
    value.requests &+= 1
    stream.open(
      on: worker, manager: manager, downstream: self, snapshot: worker.holdSnapshot())
    return stream
  }

  /// Answers a head that cannot be read, and closes.
  func refuseHead(_ error: HTTP1Error) {
    headEnded()
    value.keepAlive = false
    value.phase = .waiting
    value.closeReason = .codecError
    newStream().refuse(error)
  }

  // MARK: Body

  func consumeBody(
    _ input: Bytes, _ memory: UnsafeMutablePointer<UInt8>, at position: inout Int
  ) {
    guard let stream = value.stream else { return }
    while value.phase == .body || value.phase == .tunnel, value.stream == stream {
      switch unsafe value.decoder.nextJoined(memory, input.count, at: &position) {
      case .data(let data):
        // A body of known length ends with its last byte, and saying so at once saves a packet.
        let isLast = value.decoder.isDone
        if isLast { value.phase = .waiting }
        stream.requestData(data, endStream: isLast)
      case .end:
        value.phase = .waiting
        stream.requestData(.empty, endStream: true)
      case .trailers:
        unsafe consumeTrailers(memory, input.count, at: &position)
        return
      case .needMore:
        return
      case .invalid:
        value.keepAlive = false
        value.phase = .waiting
        value.closeReason = .codecError
        stream.requestBroken()
        position = input.count
        return
      }
    }
  }

  private func consumeTrailers(
    _ memory: UnsafeMutablePointer<UInt8>, _ n: Int, at position: inout Int
  ) {
    guard let stream = value.stream else { return }
    let worker = held
    let left = n - position
    let outcome = unsafe worker.value.parser.parseTrailers(
      memory + position, left, maxFields: manager.value.maxFields)
    switch outcome {
    case .complete(let length) where length <= Limits.trailerBytes:
      let text = unsafe Bytes(base: UnsafePointer(memory) + position, count: length)
      position += length
      value.phase = .waiting
      value.decoder.finishTrailers()
      guard !worker.value.parser.found.isEmpty else {
        return stream.requestData(.empty, endStream: true)
      }
      stream.requestTrailers(text, worker.value.parser.found)
    case .incomplete where left <= Limits.trailerBytes:
      return
    default:
      value.keepAlive = false
      value.phase = .waiting
      position = n
      stream.requestBroken()
    }
  }
}
