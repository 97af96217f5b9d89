import Testing

@testable import Resources

@Suite("Reading YAML")
struct YAMLDocumentTests {
  private func failure(_ text: String) -> String? {
    do throws(YAMLSyntaxError) {
      _ = try YAMLDocument(Array(text.utf8))
      return nil
    } catch {
      return "\(error.mark.line):\(error.mark.column): \(error.message)"
    }
  }

  private func nested(_ levels: Int) -> String {
    String(repeating: "[", count: levels) + String(repeating: "]", count: levels)
  }

  @Test("every node knows its line and column")
  func marks() throws {
    let document = try YAMLDocument(Array("a: 1\nb:\n  - c\n  - {d: 'e'}\n".utf8))
    let marks = document.nodes.map { "\($0.text)@\($0.mark.line):\($0.mark.column)" }
    #expect(
      marks == ["a@1:1", "1@1:4", "b@2:1", "c@3:5", "d@4:6", "e@4:9", "@4:5", "@3:3", "@1:1"])
  }

  @Test("a mistake of syntax is one, with its place")
  func syntax() {
    #expect(
      failure("a: [1, 2\nb: 3\n")
        == "2:2: did not find expected ',' or ']' while parsing a flow sequence")
    #expect(
      mistakes("a: [") == ["2:1: did not find expected node content while parsing a flow node"])
  }

  @Test("a hundred levels are read, one more is refused")
  func depth() {
    #expect(failure(nested(YAMLLimits.depth)) == nil)
    #expect(
      failure(nested(YAMLLimits.depth + 1)) == "1:101: nested deeper than the limit of 100 levels")
    #expect(failure(String(repeating: "[", count: 100_000)) != nil)
    #expect(failure(String(repeating: "- ", count: 100_000)) != nil)
  }

  @Test("an alias counts with the depth of what it stands for")
  func aliasDepth() {
    func text(_ levels: Int) -> String {
      "a: &a \(nested(10))\nb: " + String(repeating: "[", count: levels) + "*a"
        + String(repeating: "]", count: levels)
    }
    #expect(failure(text(89)) == nil)
    #expect(failure(text(90))?.hasSuffix("nested deeper than the limit of 100 levels") == true)
  }

  @Test("aliases that stand for more nodes than the limit are refused before they cost anything")
  func aliasBomb() {
    var text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    for level in 1...9 {
      let items = Array(repeating: "*a\(level - 1)", count: 9).joined(separator: ", ")
      text += "a\(level): &a\(level) [\(items)]\n"
    }
    #expect(
      failure(text)?.hasSuffix("aliases stand for more than the limit of 100000 nodes") == true)
  }

  @Test("aliases within the limit are the nodes they stand for")
  func aliases() throws {
    let document = try YAMLDocument(Array("- &x {a: 1}\n- *x\n".utf8))
    let root = try #require(document.root)
    let items = Array(document.children(of: root))
    #expect(items.count == 2 && items[0] == items[1])
  }

  @Test("an alias needs an anchor before it, and none around it")
  func aliasWithoutAnchor() {
    #expect(failure("a: *x\n") == "1:4: no anchor 'x' before this alias")
    #expect(failure("a: &x [*x]\n") == "1:8: no anchor 'x' before this alias")
  }

  @Test("one document is read, a second one is refused")
  func documents() {
    #expect(failure("---\na: 1\n...\n") == nil)
    #expect(failure("a: 1\n---\nb: 2\n") == "2:1: expected one document, found another")
  }

  @Test("tags other than those of plain YAML are refused")
  func tags() {
    #expect(failure("a: !!str 5\n") == nil)
    #expect(failure("a: !secret 5\n") == "1:4: tags are not supported, found '!secret'")
  }

  @Test("bytes that are no text are refused", arguments: [[0xff, 0xfe], [0x61, 0x80], [0xc3]])
  func invalidText(bytes: [UInt8]) {
    #expect(throws: YAMLSyntaxError.self) { try YAMLDocument(bytes + Array(": 1".utf8)) }
  }

  @Test(
    "an empty document configures nothing, which is told once",
    arguments: ["", "\n", "# nothing\n", "---\n"])
  func empty(text: String) {
    #expect(mistakes(text) == ["1:1: the configuration is empty"])
  }
}

@Suite("What a plain scalar is")
struct YAMLScalarTests {
  static let cases: [(String, YAMLScalar)] = [
    ("", .null), ("~", .null), ("null", .null), ("Null", .null), ("nULL", .string),
    ("true", .bool(true)), ("True", .bool(true)), ("TRUE", .bool(true)), ("tRUE", .string),
    ("yes", .bool(true)), ("y", .bool(true)), ("on", .bool(true)), ("On", .bool(true)),
    ("no", .bool(false)), ("N", .bool(false)), ("off", .bool(false)), ("false", .bool(false)),
    ("0", .integer(0)), ("-7", .integer(-7)), ("+7", .integer(7)), ("--7", .string),
    ("010", .integer(8)), ("0x10", .integer(16)), ("0x-1", .string), ("0b1", .string),
    ("9223372036854775807", .integer(.max)), ("9223372036854775808", .number(0x1p63)),
    ("0.25", .number(0.25)), ("1e3", .number(1000)), (".5", .number(0.5)), ("1e999", .string),
    ("0x1p3", .string), ("nan", .string), (".inf", .string), ("1s", .string), ("1_000", .string),
    ("127.0.0.1", .string),
  ]

  @Test("is decided as Envoy decides it", arguments: cases)
  func plain(text: String, expected: YAMLScalar) {
    #expect(YAMLScalar(node(text, isPlain: true)) == expected)
  }

  @Test("in quotes everything is a string", arguments: cases)
  func quoted(text: String, expected: YAMLScalar) {
    #expect(YAMLScalar(node(text, isPlain: false)) == .string)
  }

  private func node(_ text: String, isPlain: Bool) -> YAMLDocument.Node {
    YAMLDocument.Node(
      kind: .scalar, mark: YAMLMark(line: 1, column: 1), text: text, isPlain: isPlain,
      children: 0..<0, weight: 1, height: 1)
  }
}
