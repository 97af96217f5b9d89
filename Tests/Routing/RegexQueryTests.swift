import Testing

@testable import Routing

@Suite("Expressions of queries")
struct RegexQueryTests {
  @Test("a part of the text is enough to be found, a match takes it whole")
  func partAndWhole() throws {
    let query = try RegexQuery("up[0-9]")
    #expect(query.isFound(in: "cluster.up1.x"))
    #expect(!query.isFound(in: "cluster.up.x"))
    #expect(!query.isFound(in: ""))
    #expect(query.matches("up1"))
    #expect(!query.matches("up1x"))
  }

  @Test("the empty expression is found everywhere and matches nothing but the empty text")
  func empty() throws {
    let query = try RegexQuery("")
    #expect(query.isFound(in: "") && query.isFound(in: "a"))
    #expect(query.matches("") && !query.matches("a"))
  }

  @Test("what is no expression is refused with RE2's sentence")
  func refused() {
    #expect {
      _ = try RegexQuery("(")
    } throws: { error in
      (error as? Regex.Refusal)?.message.hasPrefix("missing )") ?? false
    }
  }
}
