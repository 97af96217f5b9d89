import Testing

@testable import Engine

/// A user of a lazy timer, as a pooled slot is one: its timer stays when its bound has gone.
private struct Bounded {
  var timer = LazyTimer()
  let loop: EventLoop
  var calls = 0
}

extension Ref where Value == Bounded {
  fileprivate func ensure(within milliseconds: UInt64) {
    value.timer.ensure(within: milliseconds, on: value.loop, context: raw) { raw, _ in
      let bounded = Ref<Bounded>(raw: raw)
      bounded.value.timer.fired()
      bounded.value.calls += 1
    }
  }
}

@Suite("Lazy timers")
struct LazyTimerTests {
  private let loop = EventLoop()

  /// Lets time pass on the loop until a timer of its own has fired behind all that are due by then.
  private func pass(milliseconds: UInt64) -> Bool {
    let calls = Calls()
    _ = loop.after(milliseconds: milliseconds, context: calls.context, Calls.note)
    return loop.turn { !calls.tags.isEmpty }
  }

  @Test("a later bound finds the timer armed and calls early, an earlier one arms it anew")
  func bounds() {
    let bounded = Ref.immortal(Bounded(loop: loop))
    bounded.ensure(within: 60_000)
    bounded.ensure(within: 10)
    bounded.ensure(within: 30_000)
    #expect(pass(milliseconds: 20))
    #expect(bounded.value.calls == 1)
    // One call for all of them; whoever is not due yet sets it again.
    #expect(pass(milliseconds: 20))
    #expect(bounded.value.calls == 1)
    bounded.ensure(within: 5)
    #expect(pass(milliseconds: 20))
    #expect(bounded.value.calls == 2)
  }
}
