import CLinux

/// A timer for bounds that are set with every request and hardly ever reached. Once armed it stays
/// armed until it fires: a bound that ends later does not touch it, nor does one that is met. For
/// slots of a pool, which are never unmapped.
///
/// So it may fire early, or for nobody: whoever is called looks whether its own bound has been
/// reached, and sets the timer again for the rest. The callback begins with `fired`.
package struct LazyTimer: BitwiseCopyable {
  private var id = TimerID.none
  /// When the armed timer fires: milliseconds on the loop's clock.
  private var armedFor: UInt64 = 0

  /// Not armed.
  package init() {}

  /// Makes sure of a call in `milliseconds`, or before.
  @inline(__always)
  package mutating func ensure(
    within milliseconds: UInt64, on loop: EventLoop, context: UnsafeMutableRawPointer,
    _ callback: @escaping TimerCallback
  ) {
    let deadline = loop.now / 1_000_000 &+ milliseconds
    guard id == .none || deadline < armedFor else { return }
    loop.cancel(id)
    armedFor = deadline
    id = unsafe loop.after(milliseconds: milliseconds, context: context, callback)
  }

  /// The callback has been called: nothing is armed now.
  package mutating func fired() { id = .none }
}
