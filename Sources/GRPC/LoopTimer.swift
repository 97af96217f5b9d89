import Engine

/// A closure that a loop calls later, unless it is cancelled or given up before. For what is off the
/// hot path; belongs to the loop's thread.
package final class LoopTimer {
  private let loop: EventLoop
  private var id = TimerID.none
  private var body: (() -> Void)?

  package init(on loop: EventLoop) { self.loop = loop }

  deinit { loop.cancel(id) }

  package var isSet: Bool { body != nil }

  /// Calls `body` once, in so many milliseconds, instead of whatever was to be called.
  package func set(milliseconds: UInt64, _ body: @escaping () -> Void) {
    cancel()
    self.body = body
    // SAFETY: `deinit` cancels, on the same thread.
    id = unsafe loop.after(
      milliseconds: milliseconds, context: Unmanaged.passUnretained(self).toOpaque()
    ) { raw, _ in
      unsafe Unmanaged<LoopTimer>.fromOpaque(raw).takeUnretainedValue().fire()
    }
  }

  package func cancel() {
    loop.cancel(id)
    id = .none
    body = nil
  }

  private func fire() {
    id = .none
    let body = self.body
    self.body = nil
    body?()
  }
}

extension EventLoop {
  /// Calls a closure after the events at hand.
  package func soon(_ body: @escaping () -> Void) {
    final class Call {
      let body: () -> Void
      init(_ body: @escaping () -> Void) { self.body = body }
    }
    // SAFETY: the loop makes each call once, which takes what is retained here.
    unsafe later(context: Unmanaged.passRetained(Call(body)).toOpaque()) { raw, _ in
      unsafe Unmanaged<Call>.fromOpaque(raw).takeRetainedValue().body()
    }
  }
}
