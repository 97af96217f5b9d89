import FilterSDK
import HeaderMutation
import Testing

@Suite("Header mutation filter")
struct HeaderMutationFilterTests {
  private func edits(_ request: String, mostSpecificWins: Bool = false) -> Document {
    [
      "mutations": [
        "request_mutations": [["append": .option("x-order", request)]],
        "response_mutations": [["remove": "x-secret"]],
      ],
      "most_specific_header_mutations_wins": .bool(mostSpecificWins),
    ]
  }

  private func order(_ stream: FakeStream) -> [String] {
    (stream.fields[0] ?? []).filter { $0.name == "x-order" }.map(\.value)
  }

  @Test("requests and responses are edited")
  func edits() throws {
    let stream = try FilterRig(headerMutationFilter, edits("chain")).stream()
    #expect(stream.requestHead() == .continue)
    #expect(order(stream) == ["chain"])
    #expect(stream.responseHead(200, [("x-secret", "1"), ("x-open", "1")]) == .continue)
    #expect(stream.response("x-secret") == nil)
    #expect(stream.response("x-open") == "1")
  }

  @Test("every level is applied, the chain's first, then as configured", arguments: [true, false])
  func levels(mostSpecificWins: Bool) throws {
    let stream = try FilterRig(
      headerMutationFilter, edits("chain", mostSpecificWins: mostSpecificWins),
      routes: [edits("route"), edits("virtual host"), edits("table")]
    ).stream()
    _ = stream.requestHead()
    #expect(
      order(stream)
        == (mostSpecificWins
          ? ["chain", "table", "virtual host", "route"]
          : ["chain", "route", "virtual host", "table"]))
  }

  @Test("nothing configured, nothing done")
  func empty() throws {
    let stream = try FilterRig(headerMutationFilter).stream()
    #expect(stream.requestHead() == .continue)
    #expect(stream.responseHead(200) == .continue)
  }
}
