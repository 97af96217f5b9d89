import Resources
import Testing

@testable import XDSClient

/// A state that is told what happens, where an expectation stands.
final class Told {
  private var state: DiscoveryState

  init(_ type: ResourceType, _ variant: DiscoveryVariant) { state = .init(type, variant) }

  func add(_ name: String?) -> Bool { state.add(name) }
  func remove(_ name: String?) -> Bool { state.remove(name) }
  func streamBegan() { state.streamBegan() }
  func request(_ occasion: DiscoveryState.Occasion) -> DiscoveryRequest? {
    state.request(occasion)
  }
  func received(_ answer: DiscoveryAnswer, isAccepted: Bool, inForce: [String: String]) {
    state.received(answer, isAccepted: isAccepted, inForce: inForce)
  }
}

private func answer(
  _ version: String, nonce: String, removed: [String] = []
) -> DiscoveryAnswer {
  var answer = DiscoveryAnswer()
  answer.version = version
  answer.nonce = nonce
  answer.removed = removed
  return answer
}

@Suite("The state of one kind of resources")
struct DiscoveryStateTests {
  @Suite("state of the world")
  struct World {
    let state = Told(.endpoints, .stateOfTheWorld)

    @Test("nothing is said while nothing is wanted: no names would mean all")
    func nothingWanted() {
      #expect(state.request(.change) == nil)
      _ = state.add("a")
      _ = state.remove("a")
      #expect(state.request(.change) == nil)
    }

    @Test("a wildcard is asked for without names")
    func wildcard() {
      let state = Told(.clusters, .stateOfTheWorld)
      #expect(state.add(nil))
      #expect(!state.add(nil))
      #expect(state.request(.change) == DiscoveryRequest(type: .clusters))
    }

    @Test("each request says all names, once and in order, with the last nonce")
    func names() {
      #expect(state.add("b"))
      #expect(state.add("a"))
      #expect(!state.add("a"))
      #expect(state.request(.change)?.names == ["a", "b"])
      state.received(answer("1", nonce: "n1"), isAccepted: true, inForce: [:])
      #expect(
        state.request(.acceptance)
          == DiscoveryRequest(type: .endpoints, version: "1", nonce: "n1", names: ["a", "b"]))
      #expect(!state.remove("a"))
      #expect(state.remove("a"))
      #expect(state.request(.change)?.names == ["b"])
      #expect(state.remove("b"))
      // Now no names mean none.
      #expect(
        state.request(.change) == DiscoveryRequest(type: .endpoints, version: "1", nonce: "n1"))
    }

    @Test("a refusal keeps the last accepted version and names the refused nonce")
    func refusal() {
      _ = state.add("a")
      _ = state.request(.change)
      state.received(answer("1", nonce: "n1"), isAccepted: true, inForce: [:])
      _ = state.request(.acceptance)
      state.received(answer("2", nonce: "n2"), isAccepted: false, inForce: [:])
      #expect(
        state.request(.refusal("why"))
          == DiscoveryRequest(
            type: .endpoints, version: "1", nonce: "n2", names: ["a"], refusal: "why"))
    }

    @Test("another stream begins with the accepted version and without a nonce")
    func reconnection() {
      _ = state.add("a")
      _ = state.request(.change)
      state.received(answer("1", nonce: "n1"), isAccepted: true, inForce: [:])
      state.streamBegan()
      #expect(
        state.request(.change) == DiscoveryRequest(type: .endpoints, version: "1", names: ["a"]))
      state.streamBegan()
      _ = state.remove("a")
      #expect(state.request(.change) == nil)
    }
  }

  @Suite("delta")
  struct Delta {
    let state = Told(.endpoints, .delta)

    @Test("only what has changed is said")
    func changes() {
      _ = state.add("a")
      _ = state.add("b")
      #expect(state.request(.change) == DiscoveryRequest(type: .endpoints, names: ["a", "b"]))
      #expect(state.request(.change) == nil)
      _ = state.remove("a")
      _ = state.add("c")
      #expect(
        state.request(.change)
          == DiscoveryRequest(type: .endpoints, names: ["c"], unwanted: ["a"]))
    }

    @Test("what was given up and is wanted again before that was said is asked for again")
    func givenUpAndWanted() {
      _ = state.add("a")
      _ = state.request(.change)
      #expect(state.remove("a"))
      #expect(state.add("a"))
      #expect(state.request(.change) == DiscoveryRequest(type: .endpoints, names: ["a"]))
    }

    @Test("an answer is answered with its nonce, and changes go along")
    func acknowledgement() {
      _ = state.add("a")
      _ = state.request(.change)
      _ = state.add("b")
      state.received(answer("1", nonce: "n1"), isAccepted: true, inForce: ["a": "1"])
      #expect(
        state.request(.acceptance)
          == DiscoveryRequest(type: .endpoints, nonce: "n1", names: ["b"]))
      #expect(state.request(.change) == nil)
      state.received(answer("2", nonce: "n2"), isAccepted: false, inForce: [:])
      #expect(
        state.request(.refusal("why"))
          == DiscoveryRequest(type: .endpoints, nonce: "n2", refusal: "why"))
    }

    @Test("another stream begins with the versions in force of what is still wanted")
    func reconnection() {
      for name in ["a", "b", "c", "d"] { _ = state.add(name) }
      _ = state.request(.change)
      state.received(
        answer("1", nonce: "n1"), isAccepted: true,
        inForce: ["a": "1", "b": "1", "c": "1", "stranger": "1"])
      // Refused, so that the older one stays in force; removed; not wanted any more.
      state.received(answer("2", nonce: "n2"), isAccepted: false, inForce: [:])
      state.received(
        answer("3", nonce: "n3", removed: ["b"]), isAccepted: true, inForce: [:])
      _ = state.remove("c")
      state.streamBegan()
      #expect(
        state.request(.change)
          == DiscoveryRequest(type: .endpoints, names: ["a", "b", "d"], known: ["a": "1"]))
      #expect(state.request(.change) == nil)
    }

    @Test("a wildcard remembers whatever came")
    func wildcard() {
      let state = Told(.listeners, .delta)
      _ = state.add(nil)
      #expect(state.request(.change) == DiscoveryRequest(type: .listeners))
      state.received(answer("1", nonce: "n1"), isAccepted: true, inForce: ["a": "7"])
      state.streamBegan()
      #expect(state.request(.change) == DiscoveryRequest(type: .listeners, known: ["a": "7"]))
    }
  }

  @Test("the reasons of a refusal are cut at the bound")
  func shortened() {
    let longest = String(repeating: "x", count: XDSLimits.refusalBytes)
    #expect(XDSLimits.shorten(longest) == longest)
    #expect(XDSLimits.shorten(longest + "x") == longest + "...(truncated)")
  }
}
