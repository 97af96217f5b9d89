import Testing

@testable import MeshIdentity

@Suite("Replacing the root")
struct RootRotationTests {
  let day = 86_400
  let tenYears = 3650 * 86_400

  func step(at now: Int, announced: Int? = nil, life: Int? = nil) -> RootRotation.Step {
    RootRotation(notBefore: 0, notAfter: life ?? tenYears, announced: announced)
      .step(at: now, longest: 90 * day)
  }

  @Test("is not begun before its last fifth")
  func announced() {
    #expect(step(at: 0) == .none)
    #expect(step(at: tenYears * 4 / 5 - 1) == .none)
    #expect(step(at: tenYears * 4 / 5) == .announce)
    #expect(step(at: tenYears + day) == .announce)
  }

  @Test("waits until every certificate was renewed since the next one is trusted")
  func promoted() {
    let announced = tenYears * 4 / 5
    #expect(step(at: announced, announced: announced) == .none)
    #expect(step(at: announced + 90 * day - 1, announced: announced) == .none)
    #expect(step(at: announced + 90 * day, announced: announced) == .promote)
  }

  @Test("does not wait for what the old root will not live to see")
  func late() {
    let announced = tenYears - 10 * day
    #expect(step(at: announced, announced: announced) == .none)
    #expect(step(at: tenYears - 9 * day, announced: announced) == .promote)
  }

  @Test("of a root that lives hardly longer than a certificate begins in its second half")
  func short() {
    #expect(step(at: 49 * day, life: 100 * day) == .none)
    #expect(step(at: 50 * day, life: 100 * day) == .announce)
  }
}
