import Testing

@testable import Resources

@Suite("Reading a scalar for its field")
struct ScalarReaderTests {
  private func read(
    _ text: String, as type: ValueType, quoted: Bool = false, isJSON: Bool = false
  ) throws(ValueError) -> ConfigTree.Node {
    let node = YAMLDocument.Node(
      kind: .scalar, mark: YAMLMark(line: 1, column: 1), text: text, isPlain: !quoted,
      children: 0..<0, weight: 1, height: 1)
    return try ScalarReader(catalog: .shared, isJSON: isJSON).read(node, as: type)
  }

  @Test("whole numbers fit their type, in quotes or not")
  func integers() throws {
    #expect(try read("4294967295", as: .scalar(.uint32)).bits == 4_294_967_295)
    #expect(throws: ValueError.self) { try read("4294967296", as: .scalar(.uint32)) }
    #expect(throws: ValueError.self) { try read("-1", as: .scalar(.uint32)) }
    #expect(try read("3", as: .wrapper(.uint32), quoted: true).bits == 3)
    #expect(try read("3.0", as: .wrapper(.uint32)).bits == 3)
    #expect(throws: ValueError.self) { try read("3.5", as: .wrapper(.uint32)) }
    #expect(try read("18446744073709551615", as: .scalar(.uint64)).bits == .max)
    #expect(throws: ValueError.self) { try read("18446744073709551616", as: .scalar(.uint64)) }
    #expect(try read("-9223372036854775808", as: .scalar(.int64), quoted: true).bits == 1 << 63)
    #expect(throws: ValueError.self) { try read("2147483648", as: .scalar(.int32)) }
    #expect(throws: ValueError.self) { try read("0x10", as: .scalar(.uint32), quoted: true) }
    #expect(throws: ValueError.self) { try read("", as: .scalar(.uint32), quoted: true) }
  }

  @Test("numbers with a fraction, and the words of proto3's JSON")
  func doubles() throws {
    #expect(try read("0.5", as: .scalar(.double)).bits == 0.5.bitPattern)
    #expect(try read("1e3", as: .scalar(.double), quoted: true).bits == 1000.0.bitPattern)
    #expect(try read("Infinity", as: .scalar(.double)).bits == Double.infinity.bitPattern)
    #expect(throws: ValueError.self) { try read("inf", as: .scalar(.double)) }
    #expect(throws: ValueError.self) { try read("true", as: .scalar(.double)) }
  }

  @Test("booleans are words, quoted only true and false")
  func booleans() throws {
    #expect(try read("on", as: .scalar(.bool)).bits == 1)
    #expect(try read("false", as: .wrapper(.bool), quoted: true).bits == 0)
    #expect(throws: ValueError.self) { try read("on", as: .scalar(.bool), quoted: true) }
    #expect(throws: ValueError.self) { try read("1", as: .scalar(.bool)) }
  }

  @Test("strings: small numbers and booleans need quotes, as in Envoy")
  func strings() throws {
    #expect(try read("5", as: .scalar(.string), quoted: true).text == "5")
    #expect(try read("0.10", as: .scalar(.string)).text == "0.10")
    #expect(try read("12345678901", as: .scalar(.string)).text == "12345678901")
    #expect(throws: ValueError(message: "expected a string, found the boolean on; write \"on\"")) {
      try read("on", as: .scalar(.string))
    }
    #expect(throws: ValueError.self) { try read("0.10", as: .scalar(.string), isJSON: true) }
  }

  @Test(
    "durations are seconds, with at most nine digits of fraction",
    arguments: [
      ("0s", 0, 0), ("1s", 1, 0), ("0.25s", 0, 250_000_000), ("1.000000001s", 1, 1),
      ("3153599999s", 3_153_599_999, 0),
    ] as [(String, Int64, Int32)])
  func durations(text: String, seconds: Int64, nanoseconds: Int32) throws {
    let value = try read(text, as: .duration)
    #expect(value.bits == UInt64(bitPattern: seconds) && value.nanoseconds == nanoseconds)
  }

  @Test(
    "anything else is no duration",
    arguments: [
      "", "s", "1", "1ms", "1m", "-1s", "1.s", ".5s", "1.0000000001s", "1 s", "3153600000s",
      "9999999999999s", "1e3s", "١s",
    ])
  func notDurations(text: String) {
    #expect(throws: ValueError.self) { try read(text, as: .duration) }
    #expect(throws: ValueError.self) { try read(text, as: .duration, quoted: true) }
  }

  @Test("bytes are base64 of either alphabet, with padding or without")
  func base64() throws {
    #expect(Base64.decode("") == [])
    #expect(Base64.decode("+/8=") == [0xfb, 0xff])
    #expect(Base64.decode("-_8") == [0xfb, 0xff])
    #expect(Base64.decode("YWJj") == Array("abc".utf8))
    for wrong in ["a", "a===", "ab=", "ab=c", "a b=", "é=="] {
      #expect(Base64.decode(wrong) == nil)
    }
  }

  @Test("enum values go by name or number")
  func enums() throws {
    let catalog = SchemaCatalog.shared
    let index = try #require(
      catalog.enums.firstIndex { $0.name == "envoy.config.core.v3.RoutingPriority" })
    #expect(try read("HIGH", as: .enumeration(index)).bits == 1)
    #expect(try read("1", as: .enumeration(index)).text == "HIGH")
    #expect(throws: ValueError.self) { try read("2", as: .enumeration(index)) }
    #expect(throws: ValueError.self) { try read("high", as: .enumeration(index)) }
  }
}
