import Testing

@testable import IdentityClient

@Suite("Renewing a certificate")
struct RenewalStateTests {
  @Test(
    "comes at half of its life, a hundredth sooner or later",
    arguments: [
      (10, 4900, 5100), (86_400, 42_336_000, 44_064_000),
      (90 * 86_400, 3_810_240_000, 3_965_760_000),
    ])
  func halfLife(life: Int, least: UInt64, most: UInt64) {
    var state = RenewalState()
    let waits = (0..<1000).map { state.issued(until: 5000 + life, at: 5000, random: $0 &* 7919) }
    #expect(waits.allSatisfy { (least...most).contains($0) })
    #expect(state.issued(until: 5000 + life, at: 5000, random: 0) == least)
  }

  @Test("of what has ended already does not come at once, nor for ever later")
  func bounds() {
    var state = RenewalState()
    #expect(state.issued(until: 0, at: 5000, random: 1) == 100)
    #expect(state.issued(until: .max, at: 5000, random: .max) < 90 * 86_400 * 1000)
  }

  @Test("is tried again, later and later, up to a minute")
  func retries() {
    var state = RenewalState()
    let longest: [UInt64] = [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]
    for most in longest {
      var copy = state
      #expect(copy.failed(at: 0, random: 0) == most / 2)
      #expect(state.failed(at: 0, random: most / 2) == most)
    }
    _ = state.issued(until: 100, at: 0, random: 0)
    #expect(state.failures == 0)
  }

  @Test("that fails is tried several times before the old one ends")
  func hurry() {
    var state = RenewalState()
    _ = state.issued(until: 108, at: 100, random: 0)
    for _ in 0..<10 { #expect(state.failed(at: 100, random: 999) <= 1000) }
    #expect(state.failed(at: 107, random: 0) == 100)
    #expect((100...200).contains(state.failed(at: 108 - 1, random: 77)))
    // Afterwards there is no hurry any more.
    #expect(state.failed(at: 200, random: 0) == 30_000)
  }
}
