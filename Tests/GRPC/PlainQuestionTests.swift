import Engine
import Testing

@testable import GRPC

@Suite("Questions that are not gRPC")
struct PlainQuestionTests {
  @Test("the answer's status and fields are told once")
  func answered() throws {
    let pair = try Pair()
    var answers: [PlainAnswer?] = []
    let question = pair.channel.ask(method: "GET", path: "/", [("x-a", "b")]) { answers.append($0) }
    #expect(answers.isEmpty)
    #expect(pair.until { !answers.isEmpty })
    // A gRPC server's, to whoever does not speak gRPC.
    #expect(answers.count == 1)
    #expect((400...499).contains(answers[0]?.status ?? 0))
    question.cancel()
    #expect(answers.count == 1)
  }

  @Test("one that is given up is told nothing")
  func cancelled() throws {
    let pair = try Pair()
    var count = 0
    pair.channel.ask(method: "GET", path: "/", []) { _ in count += 1 }.cancel()
    let other = pair.start("Echo")
    other.call?.finish()
    #expect(pair.until { other.status != nil })
    #expect(count == 0)
  }

  @Test("without a server there is no answer")
  func unreachable() throws {
    let pair = try Pair()
    let channel = RPCChannel(pair.runtime, authority: "nowhere") { nil }
    var answers: [PlainAnswer?] = []
    _ = channel.ask(method: "GET", path: "/", []) { answers.append($0) }
    #expect(answers.isEmpty)
    #expect(pair.until { !answers.isEmpty })
    #expect(answers[0] == nil)
  }
}
