import Engine
import Glibc
import Testing

@Suite("Bytes that pass unseen")
struct SpliceTests {
  private let loop = EventLoop()

  private func makeOpen() -> (Owner, far: Int32) {
    let pair = makePair()
    let owner = Owner(loop)
    owner.readsAtOnce = false
    #expect(owner.open(pair.near))
    loop.turn(waitAtMost: 0)
    return (owner, pair.far)
  }

  /// Bytes of which no two neighbours that a mistake may swap are alike.
  private func pattern(_ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8) }
  }

  /// What a far end gets until it has so much, with the loop turning.
  private func receive(_ fd: Int32, _ count: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    var memory = [UInt8](repeating: 0, count: 65_536)
    while bytes.count < count {
      let n = recv(fd, &memory, memory.count, Int32(MSG_DONTWAIT))
      guard n != 0 else { break }
      if n > 0 { bytes += memory[..<n] } else { loop.turn(waitAtMost: 1) }
    }
    return bytes
  }

  private func moved(_ outcome: ReadOutcome?) -> Int? {
    if case .bytes(let n)? = outcome { n } else { nil }
  }

  @Test("what waits in one socket goes to the other and is counted")
  func passing() {
    let (source, sourceFar) = makeOpen()
    let (sink, sinkFar) = makeOpen()
    defer {
      close(sourceFar)
      close(sinkFar)
    }
    let bytes = pattern(20_000)
    #expect(send(sourceFar, bytes, bytes.count, 0) == bytes.count)
    var total = 0
    while let n = moved(sink.connection.splice(from: source.connection, on: loop)) { total += n }
    #expect(total == bytes.count)
    #expect(receive(sinkFar, bytes.count) == bytes)
    #expect(source.connection.value.bytesRead == 20_000)
    #expect(sink.connection.value.bytesWritten == 20_000)
  }

  @Test("what the second socket does not take is queued, and comes in its place")
  func stalling() {
    let (source, sourceFar) = makeOpen()
    let (sink, sinkFar) = makeOpen()
    defer {
      close(sourceFar)
      close(sinkFar)
    }
    let bytes = pattern(2_000_000)
    var given = 0
    while given < bytes.count {
      let n = bytes[given...].withUnsafeBytes {
        send(sourceFar, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT))
      }
      if n > 0 { given += n }
      guard moved(sink.connection.splice(from: source.connection, on: loop)) != nil else { break }
    }
    #expect(sink.queuedBytes > 0)
    // With something in the queue, bytes would overtake it.
    let refused = sink.connection.splice(from: source.connection, on: loop)
    #expect(refused == nil)
    let expected = Int(sink.connection.value.bytesWritten)
    #expect(receive(sinkFar, expected) == Array(bytes[..<expected]))
  }

  @Test("what a broken socket does not take is not given to the next one")
  func breaking() {
    // The kernel sends the signal where it cannot be told not to.
    signal(SIGPIPE, SIG_IGN)
    let (source, sourceFar) = makeOpen()
    let (broken, brokenFar) = makeOpen()
    let (sink, sinkFar) = makeOpen()
    defer {
      close(sourceFar)
      close(sinkFar)
    }
    close(brokenFar)
    #expect(send(sourceFar, "lost", 4, 0) == 4)
    _ = broken.connection.splice(from: source.connection, on: loop)
    let isWritable = broken.connection.value.isStillWritable
    #expect(!isWritable)
    #expect(send(sourceFar, "found", 5, 0) == 5)
    let n = moved(sink.connection.splice(from: source.connection, on: loop))
    #expect(n == 5)
    #expect(receive(sinkFar, 5) == Array("found".utf8))
  }

  @Test("an end is told, and a wait when there is nothing")
  func ending() {
    let (source, sourceFar) = makeOpen()
    let (sink, sinkFar) = makeOpen()
    defer { close(sinkFar) }
    guard case .wait? = sink.connection.splice(from: source.connection, on: loop) else {
      Issue.record("nothing was there")
      return
    }
    close(sourceFar)
    loop.turn(waitAtMost: 100)
    guard case .end? = sink.connection.splice(from: source.connection, on: loop) else {
      Issue.record("the end was there")
      return
    }
  }
}
