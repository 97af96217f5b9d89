/// Notices that nothing has moved for too long, without hearing of every piece that moves: it is
/// asked now and then, told how much has moved until now, and answers when to ask again.
///
/// It notices a silence between one and one and a quarter times the bound after it began.
@frozen
public struct IdleWatch: BitwiseCopyable, Equatable {
  public enum Answer: Equatable {
    case idle
    case ask(afterMilliseconds: UInt64)
  }

  private let boundNanoseconds: UInt64
  private var amount: UInt64
  private var since: UInt64

  /// Watches from `now` on. `amount` is any number that grows with everything that moves.
  public init(boundMilliseconds: UInt64, amount: UInt64, now: UInt64) {
    let (nanoseconds, overflow) = boundMilliseconds.multipliedReportingOverflow(by: 1_000_000)
    boundNanoseconds = overflow ? .max : nanoseconds
    self.amount = amount
    since = now
  }

  /// When to ask first.
  public var firstMilliseconds: UInt64 { Self.milliseconds(boundNanoseconds / 4) }

  /// Whether `now`, in nanoseconds, nothing has moved for the bound.
  public mutating func ask(amount: UInt64, now: UInt64) -> Answer {
    if amount != self.amount {
      self.amount = amount
      since = now
    }
    let silence = now > since ? now - since : 0
    guard silence < boundNanoseconds else { return .idle }
    let rest = min(boundNanoseconds - silence, boundNanoseconds / 4)
    return .ask(afterMilliseconds: Self.milliseconds(rest))
  }

  /// Rounded up: a timer that ends early would only be started again.
  private static func milliseconds(_ nanoseconds: UInt64) -> UInt64 {
    max(1, nanoseconds / 1_000_000 + (nanoseconds % 1_000_000 == 0 ? 0 : 1))
  }
}
