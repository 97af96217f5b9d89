import ResourceModel
import Testing

@testable import MeshTranslation

@Suite("Expressions of access logs")
struct LogExpressionTests {
  @Test(
    "are taken as Envoy takes them",
    arguments: [
      "response.code >= 400 && request.method == 'GET'", "xds.cluster_name == \"a\"", "nobody == 1",
      "request.path.matches('a+')", "'x' in request.headers", "request.duration > duration('1s')",
      "response.code >= 400 ? true : false", "{'a': 1}['a'] == 1", "1", "'a'", "[1, 2,].size() > 1",
      "re.extract('a', 'b', 'c') == 'd'", "has(request.headers)", "int(response.code) > 1",
      "timestamp(1) > request.time", "request.time.getHours() > 1", "response.code >= 0x190",
      "b'a' == b\"a\"", "r'\\d' == 'a\\'b'", "request.headers['x'].startsWith('y')",
      "1 == 1 // comment", "!!true", "--1 < 2u", "1.5e-3 < 2.0 || true", "'''a\n'b''' == ''",
      ".response.code == 200", "response.flags % 2 == 0", "has(a[b].c)", ".5 < 1.e3", "09 == 9",
      "18446744073709551615u == 0xFFu", "'\\U0001F600\\u00e9\\x41\\101\\?' == b'\\xff'",
      "br'a' == a",
      "a.as == true.a", "type(a) == int", "[1,].size() == {'a': 1,}.size()", "a in b in c",
    ])
  func good(text: String) throws {
    _ = try LogExpression(text)
  }

  @Test(
    "are refused with a reason where Envoy refuses them",
    arguments: [
      ("", "not empty"), ("1 +", "ends too early"), ("foo(1)", "no function 'foo'"),
      ("request.path.foo()", "no method 'foo'"), ("[1].exists(x, x == 1)", "no loops"),
      ("has(request.headers['x'])", "'has' takes a field"), ("Foo{a: 1}.a", "makes no messages"),
      ("request.path.lowerAscii() == 'x'", "no method"), ("a.?b", "'?' is not expected"),
      ("getHours(request.time) > 1", "no function"), ("math.max(1, 2) > 1", "no method"),
      ("string(1) == '1'", "no function"), ("while", "reserved"), ("a.in", "'in' is not expected"),
      ("a.true", "'true' is not"),
      ("has(a)", "'has' takes a field"), ("has(a.b())", "'has' takes"),
      ("0x", "'x' is not expected"),
      ("1a", "'a' is not expected"), ("9223372036854775808", "too large"),
      ("18446744073709551616u", "too large"), ("1.5u", "'u' is not expected"),
      ("'\\q'", "a backslash"), ("'\\400'", "a backslash"), ("b'\\u00e9'", "a backslash"),
      ("'\\ud800'", "a backslash"), ("rb'a'", "is not expected"), ("size(a,)", "')' is not"),
      ("a.size(b)", "takes 0"), ("a.contains()", "takes 1"), ("re.extract(a, b)", "takes 3"),
      ("matches(a)", "takes 2"), ("!-a", "'-' is not expected"), ("a.b{}", "no messages"),
      ("(a)(b)", "'(' is not expected"), ("response.code=400", "byte 13"),
      ("cel.bind(x, 1, x == 1)", "no method"), ("'a", "does not end"), ("'a\n'", "does not end"),
      ("(1", "ends too early"), ("1)", "')' is not expected"), ("a b", "'b' is not expected"),
      ("size()", "takes 1"), ("a[1", "too early"), ("{1}", "'}' is not expected"), ("#", "byte 0"),
      ("a.1", "is not expected"), ("!", "too early"), ("1 ? 2", "too early"),
      (String(repeating: "(", count: 40), "32 deep"),
      (String(repeating: "a", count: 4097), "4096 bytes"),
    ])
  func bad(text: String, phrase: String) {
    let found = #expect(throws: LogExpression.Mistake.self) { try LogExpression(text) }
    #expect(found?.message.contains(phrase) == true, "\(String(describing: found))")
  }

  @Test("are as deep as Envoy goes")
  func depth() throws {
    /// How often something may stand around or beside something.
    func most(_ make: (Int) -> String) -> Int {
      (1...60).last { (try? LogExpression(make($0))) != nil } ?? 0
    }
    func times(_ text: String, _ count: Int) -> String { String(repeating: text, count: count) }
    #expect(most { times("(", $0) + "a" + times(")", $0) } == 32)
    #expect(most { times("size(", $0) + "a" + times(")", $0) } == 31)
    #expect(most { times("a ? b : ", $0) + "c" } == 31)
    #expect(most { times("a + ", $0) + "a" } == 31)
    #expect(most { "a" + times(".a", $0) } == 31)
    #expect(most { "a" + times("[1]", $0) } == 31)
    #expect(most { times("(a + ", $0) + "a" + times(")", $0) } == 31)
    #expect(most { times("size(a && ", $0) + "a" + times(")", $0) } == 15)
    #expect(most { times("a && ", $0) + "a" } == 60)
    #expect(most { times("!", $0) + "a" } == 60)
  }

  @Test("give away the regular expressions in them")
  func patterns() throws {
    let text = "a.matches('x(') || [b].size() > 1 && !(matches(c, \"y\"))"
    #expect(try LogExpression(text).patterns == ["x(", "y"])
  }

  @Test("what Fairlead is sent in place of an expression is never nested too deeply for it")
  func substitutes() throws {
    let terms = (0..<100).map { "response.code == \(400 + $0)" }
    let chain = LogSubstitute.of(try LogExpression(terms.joined(separator: " || ")))
    #expect(chain.isExact)
    #expect(chain.filter?.orFilter.filters.count == 100)
    var nested = terms[0]
    for (index, term) in terms[1..<20].enumerated() {
      nested = "\(term) \(index % 2 == 0 ? "&&" : "||") (\(nested))"
    }
    let deep = LogSubstitute.of(try LogExpression(nested))
    #expect(!deep.isExact)
    #expect(deep.filter.map(depth) ?? 100 <= 8)
  }

  private func depth(_ filter: LogSubstitute.LogFilter) -> Int {
    1 + ((filter.andFilter.filters + filter.orFilter.filters).map(depth).max() ?? 0)
  }
}
