import Engine
import Testing

@testable import Upstream

@Suite("Happy eyeballs")
struct ConnectionAttemptsTests {
  /// `4a` is an IPv4 address, `6a` an IPv6 address.
  private static func address(_ name: String) -> SocketAddress {
    let last = (name.utf8.last ?? 0) - 96
    return SocketAddress(ip: name.hasPrefix("6") ? "fd00::\(last)" : "10.0.0.\(last)", port: 80)
      ?? SocketAddress()
  }

  private func make(
    _ names: String, _ first: AddressFamily? = nil, count: Int = 1
  ) -> ConnectionAttempts {
    let addresses = names.split(separator: " ").map { Self.address(String($0)) }
    return ConnectionAttempts(
      .immortal(addresses), firstFamily: first, firstFamilyCount: count)
  }

  @Test(
    "addresses go in turns of the families, in order within each",
    arguments: [
      ("4a", nil, 1, "4a"),
      ("6a 6b 4a 4b", nil, 1, "6a 4a 6b 4b"),
      ("4a 4b 6a 6b", nil, 1, "4a 6a 4b 6b"),
      ("4a 6a 6b 6c", nil, 1, "4a 6a 6b 6c"),
      ("6a 6b 6c 4a", nil, 1, "6a 4a 6b 6c"),
      ("6a 6b 4a 4b", .v4, 1, "4a 6a 4b 6b"),
      ("6a 6b 6c 4a 4b", nil, 2, "6a 6b 4a 6c 4b"),
      ("4a 4b 4c", .v6, 2, "4a 4b 4c"),
      ("6a 4a", nil, 9, "6a 4a"),
      ("4a 4b 4c 4d 4e 4f 4g 4h 4i", nil, 1, "4a 4b 4c 4d 4e 4f 4g 4h"),
    ] as [(String, AddressFamily?, Int, String)])
  func order(names: String, first: AddressFamily?, count: Int, expected: String) {
    let attempts = make(names, first, count: count)
    let order = (0..<attempts.count).map { attempts.address($0).ip }
    #expect(order == expected.split(separator: " ").map { Self.address(String($0)).ip })
  }

  private func describe(_ step: ConnectionAttempts.Step) -> String {
    switch step {
    case .connect(let attempt, let armTimer): "connect \(attempt)\(armTimer ? " timer" : "")"
    case .wait: "wait"
    case .fail: "fail"
    }
  }

  @Test("without addresses there is nothing to try")
  func none() {
    var attempts = make("")
    #expect(describe(attempts.start()) == "fail")
  }

  @Test("one address is tried once, without a timer")
  func single() {
    var attempts = make("4a")
    #expect(describe(attempts.start()) == "connect 0")
    #expect(describe(attempts.attemptFailed()) == "fail")
  }

  @Test("the next address joins when the timer fires, and all race")
  func race() {
    var attempts = make("6a 4a 6b")
    #expect(describe(attempts.start()) == "connect 0 timer")
    #expect(describe(attempts.timerFired()) == "connect 1 timer")
    #expect(describe(attempts.timerFired()) == "connect 2")
    #expect(describe(attempts.timerFired()) == "wait")
    #expect(describe(attempts.attemptFailed()) == "wait")
    #expect(describe(attempts.attemptFailed()) == "wait")
    #expect(describe(attempts.attemptFailed()) == "fail")
  }

  @Test("a failure does not wait for the timer")
  func failsFast() {
    var attempts = make("6a 4a")
    #expect(describe(attempts.start()) == "connect 0 timer")
    #expect(describe(attempts.attemptFailed()) == "connect 1")
    #expect(describe(attempts.timerFired()) == "wait")
    #expect(describe(attempts.attemptFailed()) == "fail")
  }
}
