import Testing

@testable import Resources

@Suite("Objects as they are written")
struct ObjectValueTests {
  private func read(_ text: String) throws -> ObjectValue {
    try #require(try ObjectFile.read(Array(text.utf8), name: "x").first).value
  }

  @Test(
    "written and read again they are the same",
    arguments: [
      "kind: a", "a: [1, 0x10, 1.10, true, yes, null, \"1\", \"true\", '', a b, \"- x\", '#', '~']",
      "a: {b: [[1, [2]], {c: d, e: [f]}, []], g: {}}", "\"on\": x\n\"1\": y\n\"a: b\": z\n'': e",
      "a: |\n  one\n   two\n\n  three\n", "a: \"\\u2028 \\t \\\\ \\\" \\x7f é 🎈\"",
      "a: \"\\uFFFE \\uFFFF\"",
      "- not a map", "x: &a {b: c}\ny: *a",
    ])
  func roundTrip(text: String) throws {
    let value = try read(text)
    #expect(try read(value.yaml) == value)
    #expect(try read(value.yaml).yaml == value.yaml)
  }

  @Test("members are set, replaced and taken away")
  func members() throws {
    var value = try read("{a: 1, b: {c: d}}")
    value["a"] = .string("x")
    value["b"] = nil
    value["e"] = .plain("true")
    #expect(value.yaml == "a: x\ne: true\n")
    #expect(value["e"]?.meaning == .bool(true))
    #expect(value["a"]?["b"] == nil)
  }
}
