import Testing

@testable import ControlTool

@Suite("JSON of a dump")
struct JSONTests {
  @Test("every kind of value is read, in the order in which it came")
  func reads() throws {
    let document = try json(
      #" {"b":[1,-2.5e3,true,false,null],"a":{"x":"é\n\"\\\/"},"b2":[],"c":{}} "#)
    #expect(document.members.map(\.name) == ["b", "a", "b2", "c"])
    #expect(document["b"].items.first?.integerValue == 1)
    #expect(document["b"].items[1] == .number("-2.5e3"))
    #expect(document["b"].items[2...] == [.bool(true), .bool(false), .null])
    #expect(document["a"]["x"].text == "é\n\"\\/")
    #expect(document["none"]["deeper"].isNull)
  }

  @Test("escapes of UTF-16 become characters; half a pair becomes a replacement")
  func escapes() throws {
    #expect(try json(#""\u00e9 \ud83d\ude00 \ud83d x \ude00""#).text == "é 😀 \u{fffd} x \u{fffd}")
  }

  @Test(
    "what is no JSON is refused, with its place",
    arguments: [
      ("", 1, 1), ("{\n \"a\" 1}", 2, 6), ("[1,]", 1, 4), ("[1 2]", 1, 4), ("{a:1}", 1, 2),
      ("tru", 1, 1), ("\"\\x\"", 1, 3), ("\"\\u12\"", 1, 4), ("1 2", 1, 3), ("-", 1, 1),
      ("\"abc", 1, 5),
    ])
  func refuses(text: String, line: Int, column: Int) {
    let error = #expect(throws: JSONError.self) { try json(text) }
    #expect(error?.line == line)
    #expect(error?.column == column)
  }

  @Test("512 levels are the most")
  func depth() throws {
    let deepest = JSONParser.depth
    func nested(_ levels: Int) -> String {
      String(repeating: "[", count: levels) + String(repeating: "]", count: levels)
    }
    _ = try json(nested(deepest))
    #expect(throws: JSONError.self) { try json(nested(deepest + 1)) }
  }

  @Test("a dump that ends anywhere before its end is refused")
  func truncated() throws {
    let bytes = Array(try StoredDump.bytes("envoy-clusters").prefix(900))
    for end in 0..<bytes.count {
      #expect(throws: JSONError.self) { try JSONParser.parse(Array(bytes[..<end])) }
    }
  }

  @Test("what is written as JSON is read as the same", arguments: ["envoy", "fairlead"])
  func roundTrip(name: String) throws {
    let document = try StoredDump.document(name)
    #expect(try json(JSONWriter.write(document)) == document)
  }

  @Test("JSON has four spaces a level, and empty lists on one line")
  func layout() throws {
    let text = JSONWriter.write(try json(#"{"a":[{"b":"\u0001\t"},[]],"c":{}}"#))
    #expect(
      text == """
        {
            "a": [
                {
                    "b": "\\u0001\\t"
                },
                []
            ],
            "c": {}
        }
        """)
  }

  @Test("YAML quotes what a reader might take for something else")
  func yaml() throws {
    let document = try json(
      #"{"name":"8090","on":"yes","l":[[1,2],{"a":"*","b":["x"]},[]],"h":"10.0.0.1","#
        + #""t":"a: b","p":"outbound|80||web","e":"","z":null,"d":"1s","u":"é","s":{}}"#)
    #expect(
      YAMLWriter.write(document) == """
        name: "8090"
        "on": "yes"
        l:
        - - 1
          - 2
        - a: "*"
          b:
          - x
        - []
        h: "10.0.0.1"
        t: "a: b"
        p: outbound|80||web
        e: ""
        z: null
        d: "1s"
        u: "é"
        s: {}

        """)
  }

  @Test("fields get protobuf's names; a user's names stay as they are")
  func names() throws {
    let document = try json(
      #"{"filter_chains":[{"use_original_dst":true}],"typed_per_filter_config":{"a_b":{"c_d":1}},"#
        + #""metadata":{"filter_metadata":{"my_ns":{"my_key":1}}},"@type":"x_y"}"#)
    #expect(
      FieldNames.camelCased(document)
        == (try json(
          #"{"filterChains":[{"useOriginalDst":true}],"typedPerFilterConfig":{"a_b":{"cD":1}},"#
            + #""metadata":{"filterMetadata":{"my_ns":{"my_key":1}}},"@type":"x_y"}"#)))
    let node = try json(#"{"node":{"metadata":{"MY_key":{"b_c":1}}}}"#)
    #expect(FieldNames.camelCased(node) == node)
  }

  @Test(
    "base64 is decoded, padded or not",
    arguments: [("", ""), ("YQ==", "a"), ("YWI", "ab"), ("YWJj", "abc"), ("__-_", "\u{ff}")])
  func base64(text: String, wanted: String) {
    if wanted == "\u{ff}" {
      #expect(Base64.decode(text) == [0xff, 0xff, 0xbf])
    } else {
      #expect(Base64.decode(text) == Array(wanted.utf8))
    }
  }

  @Test("what is no base64 is nothing")
  func noBase64() { #expect(Base64.decode("a b") == nil) }
}
