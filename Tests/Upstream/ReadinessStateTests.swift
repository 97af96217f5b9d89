import Testing

@testable import Upstream

@Suite("Whether an application is ready")
struct ReadinessStateTests {
  /// What each result leads to, `+` for a success: `R` for ready, `U` for unready, `.` for nothing.
  private func run(_ results: String, success: Int = 1, failure: Int = 1) -> String {
    var state = ReadinessState(successThreshold: success, failureThreshold: failure)
    var told = ""
    for result in results {
      if result == "+" {
        told += state.succeeded() ? "R" : "."
      } else {
        told += state.failed() ? "U" : "."
      }
    }
    return told
  }

  @Test("the first result counts, and then only what changes it")
  func changes() {
    #expect(run("+++--++") == "R..U.R.")
    #expect(run("--+") == "U.R")
  }

  @Test("it takes as many in a row as the thresholds say")
  func thresholds() {
    #expect(run("++-++", success: 3) == "..U..")
    #expect(run("++-+++-", success: 3) == "..U..RU")
    #expect(run("+--+---++", failure: 3) == "R.....UR.")
    #expect(run("--", failure: 3) == "..")
  }

  @Test("a threshold is at least one")
  func least() {
    #expect(run("+-", success: 0, failure: -1) == "RU")
  }
}
