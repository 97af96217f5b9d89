import Engine
import Testing

/// What timers did, in order: the context of their callbacks.
private final class Journal {
  var fired: [(tag: UInt64, at: UInt64)] = []
  var now: UInt64 = 0
  var whenFired: ((UInt64) -> Void)?

  var context: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }

  static let note: TimerCallback = { context, tag in
    let journal = Unmanaged<Journal>.fromOpaque(context).takeUnretainedValue()
    journal.fired.append((tag, journal.now))
    journal.whenFired?(tag)
  }

  func advance(_ wheel: Ref<TimerWheel>, to time: UInt64) {
    now = time
    TimerWheel.advance(wheel, to: time)
  }
}

@Suite("Timer wheel")
struct TimerWheelTests {
  private let journal = Journal()

  private func make(at start: UInt64) -> Ref<TimerWheel> { .immortal(TimerWheel(now: start)) }

  @discardableResult
  private func arm(_ wheel: Ref<TimerWheel>, at deadline: UInt64, tag: UInt64 = 0) -> TimerID {
    wheel.value.arm(at: deadline, tag: tag, context: journal.context, Journal.note)
  }

  @Test(
    "a timer fires at its deadline and not a tick before, whichever level holds it",
    arguments: [
      0, 1, 255, 256, 1_000_000, (1 << 24) - 1, (1 << 32) - 1,
    ] as [UInt64],
    [
      1, 2, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, (1 << 24) - 1, 1 << 24, (1 << 24) + 1,
    ] as [UInt64])
  func boundary(start: UInt64, wait: UInt64) {
    let wheel = make(at: start)
    arm(wheel, at: start + wait)
    journal.advance(wheel, to: start + wait - 1)
    #expect(journal.fired.isEmpty)
    journal.advance(wheel, to: start + wait)
    #expect(journal.fired.count == 1)
    #expect(wheel.value.count == 0)
  }

  @Test("a deadline that has passed fires at the next tick")
  func past() {
    let wheel = make(at: 1000)
    arm(wheel, at: 1)
    journal.advance(wheel, to: 1000)
    #expect(journal.fired.isEmpty)
    journal.advance(wheel, to: 1001)
    #expect(journal.fired.count == 1)
  }

  @Test("one great leap fires everything due, earliest tick first")
  func leap() {
    let wheel = make(at: 7)
    let waits: [UInt64] = [70_000, 3, 300, 256, 20_000_000, 1]
    for wait in waits { arm(wheel, at: 7 + wait, tag: wait) }
    journal.advance(wheel, to: 30_000_000)
    #expect(journal.fired.map(\.tag) == waits.sorted())
  }

  @Test("beyond the wheel's reach, a timer still waits for its whole time")
  func beyondReach() {
    let wheel = make(at: 0)
    arm(wheel, at: 1 << 33)
    journal.advance(wheel, to: (1 << 33) - 1)
    #expect(journal.fired.isEmpty)
    journal.advance(wheel, to: 1 << 33)
    #expect(journal.fired.count == 1)
  }

  @Test("a cancelled timer does not fire, and its name is harmless afterwards")
  func cancel() {
    let wheel = make(at: 0)
    let first = arm(wheel, at: 10, tag: 1)
    let second = arm(wheel, at: 10, tag: 2)
    wheel.value.cancel(first)
    wheel.value.cancel(first)
    wheel.value.cancel(.none)
    // The slot serves another timer now, which the stale name must not touch.
    arm(wheel, at: 10, tag: 3)
    wheel.value.cancel(first)
    journal.advance(wheel, to: 10)
    #expect(Set(journal.fired.map(\.tag)) == [2, 3])
    wheel.value.cancel(second)
    #expect(wheel.value.count == 0)
  }

  @Test("a callback may cancel a timer that is due in the same tick")
  func cancelInCallback() {
    let wheel = make(at: 0)
    let ids = (0..<3).map { arm(wheel, at: 5, tag: UInt64($0)) }
    journal.whenFired = { _ in for id in ids { wheel.value.cancel(id) } }
    journal.advance(wheel, to: 5)
    #expect(journal.fired.count == 1)
    #expect(wheel.value.count == 0)
  }

  @Test("a callback that arms again does not keep the clock from ending")
  func rearm() {
    let wheel = make(at: 0)
    let journal = self.journal
    journal.whenFired = { _ in
      wheel.value.arm(at: 0, tag: 0, context: journal.context, Journal.note)
    }
    arm(wheel, at: 1)
    journal.advance(wheel, to: 100)
    #expect(journal.fired.count == 100)
  }

  @Test("more timers than the wheel had room for")
  func growth() {
    let wheel = make(at: 0)
    for tag in 0..<5000 { arm(wheel, at: UInt64(1 + tag % 700), tag: UInt64(tag)) }
    #expect(wheel.value.count == 5000)
    journal.advance(wheel, to: 700)
    #expect(Set(journal.fired.map(\.tag)).count == 5000)
  }

  @Test("the delay never goes past a timer, and is exact within a lap")
  func delay() {
    let wheel = make(at: 250)
    #expect(wheel.value.delay(limit: 1000) == 1000)
    arm(wheel, at: 253)
    #expect(wheel.value.delay(limit: 1000) == 3)
    #expect(wheel.value.delay(limit: 2) == 2)
    journal.advance(wheel, to: 253)
    arm(wheel, at: 300)
    let delay = wheel.value.delay(limit: 1000)
    #expect(delay >= 1 && delay <= 47)
  }

  @Test(
    "against a sorted list, thousands of random timers agree", arguments: [1, 2, 3, 4] as [UInt64])
  func model(seed: UInt64) {
    var random = Random(seed: seed)
    var now = random.next(below: 1 << 34)
    let wheel = make(at: now)
    var armed: [UInt64: (id: TimerID, deadline: UInt64)] = [:]
    var tag: UInt64 = 0
    for _ in 0..<3000 {
      switch random.next(below: 4) {
      case 0, 1:
        tag += 1
        let scale = random.next(below: 26)
        let deadline = now + random.next(below: 2 << scale)
        armed[tag] = (arm(wheel, at: deadline, tag: tag), max(deadline, now + 1))
      case 2:
        if let victim = armed.randomElement() {
          wheel.value.cancel(victim.value.id)
          armed[victim.key] = nil
        }
      default:
        now += random.next(below: 2 << random.next(below: 22))
        journal.fired = []
        journal.advance(wheel, to: now)
        let due = armed.filter { $0.value.deadline <= now }
        #expect(Set(journal.fired.map(\.tag)) == Set(due.keys))
        let deadlines = journal.fired.compactMap { due[$0.tag]?.deadline }
        #expect(deadlines == deadlines.sorted())
        for key in due.keys { armed[key] = nil }
      }
      #expect(wheel.value.count == armed.count)
    }
  }
}
