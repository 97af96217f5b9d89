import Engine
import HTTPModel
import ResourceModel
import Resources
import SwiftProtobuf
import Testing

@testable import Routing

@Suite("String matchers")
struct StringMatcherTests {
  private func matches(_ json: String, _ text: String) throws -> Bool {
    let message = try Envoy_Type_Matcher_V3_StringMatcher(jsonString: json)
    let diagnostics = Diagnostics(files: [])
    let matcher = try #require(StringMatcher(message, at: .root, diagnostics))
    #expect(!diagnostics.hasErrors)
    return matcher.matches(.immortal(text))
  }

  @Test(
    "each kind of pattern matches what it says, and nothing beside it",
    arguments: [
      (#"{"exact": "abc"}"#, ["abc"], ["ab", "abcd", "ABC", ""]),
      (#"{"exact": ""}"#, [""], ["a"]),
      (#"{"exact": "aBc", "ignore_case": true}"#, ["abc", "ABC"], ["ab", "abcd"]),
      (#"{"prefix": "ab"}"#, ["ab", "abc"], ["a", "xab", "AB"]),
      (#"{"prefix": "Ab", "ignore_case": true}"#, ["aBc", "AB"], ["a", "xab"]),
      (#"{"suffix": "bc"}"#, ["bc", "abc"], ["c", "bcd", "BC"]),
      (#"{"suffix": "BC", "ignore_case": true}"#, ["abc", "aBC"], ["c", "bcd"]),
      (#"{"contains": "bb"}"#, ["bb", "abba"], ["b", "aBBa", "bab"]),
      (#"{"contains": "bB", "ignore_case": true}"#, ["aBba", "BB"], ["b", "bab", ""]),
      (#"{"safe_regex": {"regex": "a[0-9]+"}}"#, ["a1", "a123"], ["a", "xa1", "a1x", "A1"]),
      (#"{"safe_regex": {"regex": "(?i)a|b"}}"#, ["A", "b"], ["ab", ""]),
    ])
  func kinds(_ json: String, _ hits: [String], _ misses: [String]) throws {
    for text in hits { #expect(try matches(json, text), "\(text)") }
    for text in misses { #expect(try !matches(json, text), "\(text)") }
  }

  @Test("a broken expression is reported where it stands")
  func brokenExpression() throws {
    let diagnostics = Diagnostics(files: ["f"])
    let message = try Envoy_Type_Matcher_V3_StringMatcher(
      jsonString: #"{"safe_regex": {"regex": "a("}}"#)
    #expect(StringMatcher(message, at: .root, diagnostics) == nil)
    #expect(diagnostics.all.map(\.path) == ["safe_regex.regex"])
  }

  @Test("ignore_case is refused beside an expression")
  func ignoreCaseWithRegex() throws {
    let diagnostics = Diagnostics(files: ["f"])
    let message = try Envoy_Type_Matcher_V3_StringMatcher(
      jsonString: #"{"safe_regex": {"regex": "a"}, "ignore_case": true}"#)
    _ = StringMatcher(message, at: .root, diagnostics)
    #expect(diagnostics.all.map(\.path) == ["ignore_case"])
  }
}

@Suite("Header matchers")
struct HeaderMatcherTests {
  private func matches(_ json: String, _ values: [String]) throws -> Bool {
    let message = try Envoy_Config_Route_V3_HeaderMatcher(jsonString: json)
    let matcher = try #require(HeaderMatcher(message, at: .root, Diagnostics(files: [])))
    return Head(values.map { ("x", $0) }).fits(matcher)
  }

  /// Observed in Envoy 1.40: with `invert_match` and `treat_missing_header_as_empty` in all four
  /// combinations (neither, the latter, the former, both), what a missing field gives, an empty
  /// one, a fitting one, and two of which one fits.
  @Test(
    "inverting, missing and repeated fields are as in Envoy",
    arguments: [
      (#", "present_match": true"#, "v", "0111 1111 1000 0000"),
      (#", "present_match": false"#, "v", "1000 0000 0111 1111"),
      (#", "string_match": {"exact": "v"}"#, "v", "0011 0011 0100 1100"),
      (#", "string_match": {"exact": ""}"#, "", "0111 1111 0000 0000"),
      (#", "exact_match": "v""#, "v", "0011 0011 0100 1100"),
      (#", "range_match": {"start": -5, "end": 10}"#, "7", "0011 0011 0100 1100"),
      (#", "string_match": {"safe_regex": {"regex": "a.*b"}}"#, "ab", "0011 0011 0100 1100"),
      (#", "safe_regex_match": {"regex": "a.*b"}"#, "ab", "0011 0011 0100 1100"),
      (#", "string_match": {"contains": "ell"}"#, "hello", "0011 0011 0100 1100"),
      (#", "contains_match": "ell""#, "hello", "0011 0011 0100 1100"),
      (#", "prefix_match": "he""#, "hello", "0011 0011 0100 1100"),
      (#", "suffix_match": "lo""#, "hello", "0011 0011 0100 1100"),
      ("", "v", "0111 1111 1000 0000"),
    ])
  func golden(_ condition: String, _ fitting: String, _ expected: String) throws {
    var result: [String] = []
    for flags in [
      "", #", "treat_missing_header_as_empty": true"#, #", "invert_match": true"#,
      #", "invert_match": true, "treat_missing_header_as_empty": true"#,
    ] {
      let json = #"{"name": "x"\#(condition)\#(flags)}"#
      let cases = try [[], [""], [fitting], ["other", fitting]].map { try matches(json, $0) }
      result.append(cases.map { $0 ? "1" : "0" }.joined())
    }
    #expect(result.joined(separator: " ") == expected)
  }

  @Test(
    "a range takes whole numbers from its start up to its end",
    arguments: [
      ("-5", true), ("-6", false), ("9", true), ("10", false), ("+6", true), ("6 ", true),
      ("", false), ("6x", false), ("99999999999999999999", false), ("-", false),
    ])
  func range(_ value: String, _ expected: Bool) throws {
    let json = #"{"name": "x", "range_match": {"start": -5, "end": 10}}"#
    #expect(try matches(json, [value]) == expected)
  }

  @Test("host is the authority, and names have no case")
  func names() throws {
    let head = Head(host: "www", path: "/", [("x-a", "1")])
    for (name, value) in [("host", "www"), ("Host", "www"), (":path", "/"), ("X-A", "1")] {
      let message = try Envoy_Config_Route_V3_HeaderMatcher(
        jsonString: #"{"name": "\#(name)", "string_match": {"exact": "\#(value)"}}"#)
      let matcher = try #require(HeaderMatcher(message, at: .root, Diagnostics(files: [])))
      #expect(head.fits(matcher))
    }
  }

  @Test("a list asks for all, or for any")
  func quantifiers() throws {
    let messages = try ["a", "b"].map {
      try Envoy_Config_Route_V3_HeaderMatcher(jsonString: #"{"name": "\#($0)"}"#)
    }
    let diagnostics = Diagnostics(files: [])
    let all = HeaderMatchers(messages, at: .root, diagnostics)
    let any = HeaderMatchers(messages, .any, at: .root, diagnostics)
    let none = Head()
    let one = Head([("b", "")])
    let both = Head([("a", ""), ("b", "")])
    #expect([none, one, both].map { $0.fits(all) } == [false, false, true])
    #expect([none, one, both].map { $0.fits(any) } == [false, true, true])
    #expect(none.fits(HeaderMatchers([], at: .root, diagnostics)))
    #expect(!both.fits(HeaderMatchers([], .any, at: .root, diagnostics)))
  }
}

@Suite("Query parameter matchers")
struct QueryParameterMatcherTests {
  /// Observed in Envoy 1.40, for parameter `x`.
  @Test(
    "the first parameter of the name counts, undecoded",
    arguments: [
      (#""present_match": true"#, ["x", "x=", "x=v", "y&x=v", "&&x=v", "x=%76"]),
      (#""present_match": false"#, ["", "%78=v", "xx=v", "=v", "y?x=v"]),
      (#""string_match": {"exact": "v"}"#, ["x=v", "y&x=v", "x=v&x=w", "&&x=v"]),
      (#""string_match": {"exact": ""}"#, ["x", "x="]),
    ])
  func golden(_ condition: String, _ hits: [String]) throws {
    let all = [
      "", "x", "x=", "x=v", "y&x=v", "x=w&x=v", "x=v&x=w", "&&x=v", "x=v=v", "%78=v", "xx=v",
      "=v", "x=%76", "y?x=v",
    ]
    let message = try Envoy_Config_Route_V3_QueryParameterMatcher(
      jsonString: #"{"name": "x", \#(condition)}"#)
    let matcher = try #require(QueryParameterMatcher(message, at: .root, Diagnostics(files: [])))
    let found = all.filter { matcher.matches(.immortal($0)) }
    if condition.contains("true") {
      #expect(found == all.filter { hits.contains($0) || $0.hasPrefix("x=") })
    } else {
      #expect(found == hits)
    }
  }
}

@Suite("Numbers in fields")
struct NumberTests {
  @Test("the limits of 64 bits pass, and one more does not")
  func limits() {
    #expect(Bytes("9223372036854775807").signedDecimal == .max)
    #expect(Bytes("9223372036854775808").signedDecimal == nil)
    #expect(Bytes("-9223372036854775808").signedDecimal == .min)
    #expect(Bytes("-9223372036854775809").signedDecimal == nil)
    #expect(Bytes("18446744073709551615").unsignedDecimal == .max)
    #expect(Bytes("18446744073709551616").unsignedDecimal == nil)
    #expect(Bytes("-1").unsignedDecimal == nil)
    #expect(Bytes("+5").unsignedDecimal == 5)
    #expect(Bytes(" 5\t").unsignedDecimal == 5)
  }
}

@Suite("Regular expressions")
struct RegexTests {
  @Test("nested repetitions take time linear in the text")
  func linear() throws {
    // A backtracking engine needs 2^n steps for this one; a test that hangs has failed.
    let regex = try Regex("(a+)+$|(a|a)*b|(.*)*c")
    let text = Bytes.immortal(String(repeating: "a", count: 50_000) + "x")
    #expect(!regex.matches(text))
  }

  @Test("an expression that would need more than its share of memory is refused")
  func memory() {
    #expect(throws: Regex.Refusal.self) { try Regex("((a{100}){100}){100}") }
  }

  @Test(
    "every match is replaced, an empty one never beside another",
    arguments: [
      ("b", #"[\0]"#, "abba", "a[b][b]a"),
      ("(a)(b)", #"\2\1"#, "abxab", "baxba"),
      ("x*", "-", "abc", "-a-b-c-"),
      ("b*", "-", "abbc", "-a-c-"),
      ("", "-", "é", "-é-"),
      ("^/a/(.*)$", #"/\1/a"#, "/a/b", "/b/a"),
      ("q", #"\\"#, "aqa", #"a\a"#),
      ("z", "y", "abc", "abc"),
    ])
  func replacing(_ pattern: String, _ substitution: String, _ text: String, _ expected: String)
    throws
  {
    var pool = BlockPool()
    let block = pool.take()
    let replacement = try Regex(pattern).substitution(substitution)
    #expect(replacement.replaceAll(in: .immortal(text), appendingTo: block))
    #expect(block.bytes().string == expected)
    pool.release(block)
  }

  @Test("a result that does not fit leaves the block as it was")
  func tooLong() throws {
    var pool = BlockPool()
    let block = pool.take()
    _ = block.append(Bytes("kept"))
    let text = Bytes.immortal(String(repeating: "a", count: block.capacity))
    #expect(try !Regex("a").substitution("bb").replaceAll(in: text, appendingTo: block))
    #expect(block.bytes() == "kept")
    pool.release(block)
  }

  @Test("a substitution that names a missing group is refused")
  func missingGroup() throws {
    let regex = try Regex("(a)")
    #expect(throws: Regex.Refusal.self) { try regex.substitution(#"\2"#) }
    _ = try regex.substitution(#"\1"#)
  }
}
