import Engine
import Glibc
import Testing

extension EventLoop {
  /// Turns until something holds, or five seconds have passed. Says whether it holds.
  func turn(until condition: () -> Bool) -> Bool {
    let deadline = ContinuousClock.now + .seconds(5)
    while !condition() {
      guard ContinuousClock.now < deadline else { return false }
      turn(waitAtMost: 20)
    }
    return true
  }
}

/// What a loop called, in order.
final class Calls {
  var tags: [UInt64] = []
  var then: ((UInt64) -> Void)?

  var context: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }

  static let note: DeferredCallback = { context, tag in
    let calls = Unmanaged<Calls>.fromOpaque(context).takeUnretainedValue()
    calls.tags.append(tag)
    calls.then?(tag)
  }

  static let event: IOCallback = { context, flags in Calls.note(context, UInt64(flags)) }
}

/// A connected pair of sockets; the near one is non-blocking.
func makePair() -> (near: Int32, far: Int32) {
  var pair: [Int32] = [-1, -1]
  let result = socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair)
  precondition(result == 0, "a socket pair is available")
  _ = fcntl(pair[0], F_SETFL, fcntl(pair[0], F_GETFL) | O_NONBLOCK)
  return (pair[0], pair[1])
}

@Suite("Event loop")
struct EventLoopTests {
  private let loop = EventLoop()
  private let calls = Calls()
  private static let readable: UInt32 = 1
  private static let writable: UInt32 = 4

  @Test("deferred calls come in order; those they defer come in the next turn")
  func deferred() {
    for tag in 1...300 as ClosedRange<UInt64> {
      loop.later(context: calls.context, tag: tag, Calls.note)
    }
    let loop = self.loop
    let calls = self.calls
    calls.then = { tag in
      if tag == 1 { loop.later(context: calls.context, tag: 999, Calls.note) }
    }
    loop.turn(waitAtMost: 1000)
    #expect(calls.tags == Array(1...300))
    loop.turn(waitAtMost: 1000)
    #expect(calls.tags.last == 999)
  }

  @Test("timers fire after their time, in order")
  func timers() {
    let start = ContinuousClock.now
    for wait in [30, 1, 10] as [UInt64] {
      _ = loop.after(milliseconds: wait, context: calls.context, tag: wait, Calls.note)
    }
    let cancelled = loop.after(milliseconds: 5, context: calls.context, tag: 5, Calls.note)
    loop.cancel(cancelled)
    loop.cancel(.none)
    #expect(loop.turn { calls.tags.count == 3 })
    #expect(calls.tags == [1, 10, 30])
    #expect(ContinuousClock.now - start >= .milliseconds(30))
  }

  @Test("the batch's end comes last")
  func batchEnd() {
    loop.atBatchEnd(context: calls.context) { context, _ in Calls.note(context, 7) }
    loop.later(context: calls.context, tag: 1, Calls.note)
    loop.turn(waitAtMost: 0)
    #expect(calls.tags == [1, 7])
  }

  @Test("a registered descriptor is announced until it is unregistered")
  func descriptors() {
    let pair = makePair()
    defer {
      close(pair.near)
      close(pair.far)
    }
    let registration = loop.register(
      pair.near, events: Self.readable, context: calls.context, Calls.event)
    #expect(registration != nil)
    loop.turn(waitAtMost: 0)
    #expect(calls.tags.isEmpty)
    _ = write(pair.far, "x", 1)
    loop.turn(waitAtMost: 1000)
    #expect(calls.tags == [1])
    if let registration { loop.unregister(registration) }
    loop.turn(waitAtMost: 0)
    #expect(calls.tags == [1])
  }

  @Test("what a descriptor is watched for can be changed")
  func change() throws {
    let pair = makePair()
    defer {
      close(pair.near)
      close(pair.far)
    }
    let registration = try #require(
      loop.register(pair.near, events: Self.readable, context: calls.context, Calls.event))
    loop.turn(waitAtMost: 0)
    loop.change(registration, events: Self.writable)
    loop.turn(waitAtMost: 1000)
    #expect(calls.tags == [4])
    loop.change(registration, events: Self.readable)
    loop.turn(waitAtMost: 0)
    #expect(calls.tags == [4])
  }

  @Test("an event fetched before its registration went is dropped, though the place is taken again")
  func staleEvent() throws {
    let pairs = [makePair(), makePair()]
    defer {
      for pair in pairs {
        close(pair.near)
        close(pair.far)
      }
    }
    var registrations: [UInt32] = []
    for pair in pairs {
      registrations.append(
        try #require(
          loop.register(pair.near, events: Self.readable, context: calls.context, Calls.event)))
      _ = write(pair.far, "x", 1)
    }
    let third = makePair()
    defer {
      close(third.near)
      close(third.far)
    }
    let loop = self.loop
    let calls = self.calls
    // Whichever comes first takes both away; a new registration gets one of their places.
    calls.then = { _ in
      calls.then = nil
      for registration in registrations { loop.unregister(registration) }
      _ = loop.register(third.near, events: Self.readable, context: calls.context, Calls.event)
    }
    loop.turn(waitAtMost: 1000)
    #expect(calls.tags.count == 1)
  }

  @Test("more descriptors than the loop had room for")
  func growth() {
    let pairs = (0..<300).map { _ in makePair() }
    defer {
      for pair in pairs {
        close(pair.near)
        close(pair.far)
      }
    }
    for pair in pairs {
      #expect(
        loop.register(pair.near, events: Self.readable, context: calls.context, Calls.event) != nil)
      _ = write(pair.far, "x", 1)
    }
    for _ in 0..<3 { loop.turn(waitAtMost: 0) }
    #expect(calls.tags.count >= 300)
  }

  @Test("a descriptor that epoll refuses is not registered")
  func refused() {
    #expect(loop.register(-1, events: Self.readable, context: calls.context, Calls.event) == nil)
  }

  @Test("stop ends run")
  func stop() {
    loop.mailbox.post { $0.stop() }
    loop.run()
  }
}

@Suite("Mailbox")
struct MailboxTests {
  /// Order of arrival, by sender.
  private final class Received: @unchecked Sendable {
    // `@unchecked`: only the loop's thread touches it.
    var last: [Int: Int] = [:]
    var count = 0
    var isOrdered = true
  }

  private struct Sender {
    let mailbox: Mailbox
    let received: Received
    let number: Int
  }

  @Test("messages of four threads all arrive, each thread's in order")
  func order() {
    let loop = EventLoop()
    let received = Received()
    let threads = (0..<4).map { number -> pthread_t in
      let sender = Unmanaged.passRetained(
        Box(Sender(mailbox: loop.mailbox, received: received, number: number)))
      var thread = pthread_t()
      pthread_create(
        &thread, nil,
        { context in
          guard let context else { return nil }
          let sender = Unmanaged<Box<Sender>>.fromOpaque(context).takeRetainedValue().value
          let received = sender.received
          let number = sender.number
          for message in 0..<5000 {
            sender.mailbox.post { _ in
              if let last = received.last[number], last + 1 != message {
                received.isOrdered = false
              }
              received.last[number] = message
              received.count += 1
            }
          }
          return nil
        }, sender.toOpaque())
      return thread
    }
    #expect(loop.turn { received.count == 20_000 })
    for thread in threads { pthread_join(thread, nil) }
    #expect(received.isOrdered)
  }

  private final class Box<Value> {
    let value: Value
    init(_ value: Value) { self.value = value }
  }

  @Test("a message that posts another gets it delivered")
  func nested() {
    let loop = EventLoop()
    let received = Received()
    let mailbox = loop.mailbox
    mailbox.post { _ in mailbox.post { _ in received.count += 1 } }
    #expect(loop.turn { received.count == 1 })
  }
}
