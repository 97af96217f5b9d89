/// When a program that has ended is started again. It is told the time, in milliseconds, and does
/// nothing.
struct RestartState: Equatable {
  /// Waits double from the first to the last.
  static let firstWait = 500
  static let lastWait = 30_000
  /// A program that ran for so long has proved itself: the next wait is the first again.
  static let provenAfter = 30_000

  private var startedAt = 0
  private var wait = Self.firstWait
  /// When to start it; nil while it runs.
  private(set) var due: Int? = 0

  mutating func started(at now: Int) {
    startedAt = now
    due = nil
  }

  /// It has ended, or could not be started. Returns how long it is left alone.
  mutating func ended(at now: Int) -> Int {
    if due == nil, now - startedAt >= Self.provenAfter { wait = Self.firstWait }
    let chosen = wait
    due = now + chosen
    wait = min(wait * 2, Self.lastWait)
    return chosen
  }
}
