/// What the checks of an application have come to, as Istio's agent counts them: it is told results and
/// says when there is something to report.
package struct ReadinessState {
  /// Results in a row that it takes; at least one.
  private let successThreshold: Int
  private let failureThreshold: Int
  private var successes = 0
  private var failures = 0
  /// Nil until either has happened often enough in a row for the first time.
  package private(set) var isReady: Bool?

  package init(successThreshold: Int, failureThreshold: Int) {
    self.successThreshold = max(1, successThreshold)
    self.failureThreshold = max(1, failureThreshold)
  }

  /// Says whether the application has become ready by this.
  package mutating func succeeded() -> Bool {
    failures = 0
    successes = min(successes + 1, successThreshold)
    guard successes == successThreshold, isReady != true else { return false }
    isReady = true
    return true
  }

  /// Says whether the application has become unready by this.
  package mutating func failed() -> Bool {
    successes = 0
    failures = min(failures + 1, failureThreshold)
    guard failures == failureThreshold, isReady != false else { return false }
    isReady = false
    return true
  }
}
