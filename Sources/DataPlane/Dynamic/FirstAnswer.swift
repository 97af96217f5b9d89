/// Whether what is followed has come, or there is no hope for it at first, and who waits for that. Main
/// thread.
final class FirstAnswer {
  private(set) var isThere = false
  private var waiting: [() -> Void] = []

  /// Calls `body` then, or at once.
  func then(_ body: @escaping () -> Void) {
    if isThere { body() } else { waiting.append(body) }
  }

  /// It has; only the first time counts.
  func come() {
    guard !isThere else { return }
    isThere = true
    let waiting = self.waiting
    self.waiting = []
    for body in waiting { body() }
  }

  /// Nobody waits any more.
  func forget() { waiting = [] }
}
