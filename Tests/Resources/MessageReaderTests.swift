import SwiftProtobuf
import Testing

@testable import Resources

/// Some messages, and what an API would have besides.
private let schema = ObjectSchema(
  wholeEnvoy: """
    message a.Thing
    oneof choice
    1 string name
    2 []string list
    3 a.Thing inner
    4 map<string,string> words
    5 string one oneof=0
    6 a.Thing two oneof=0
    7 google.protobuf.Duration time
    8 google.protobuf.UInt32Value number
    9 google.protobuf.Any any
    10 bool flag
    11 google.protobuf.Struct free
    message xds.type.v3.TypedStruct
    1 string type_url
    2 google.protobuf.Struct value
    """,
  gaps: """
    a.Thing later=40
    types
    a.Newer
    """)

@Suite("Messages from free-form values")
struct MessageReaderTests {
  private let reader = MessageReader(schema)

  /// A value from JSON.
  private func value(_ json: String) throws -> Google_Protobuf_Struct {
    try Google_Protobuf_Struct(jsonString: json)
  }

  private func bytes(_ json: String) throws -> [UInt8] {
    let read = try #require(reader.read(value(json), as: "a.Thing"))
    #expect(read.problems.isEmpty, "\(read.problems)")
    return read.bytes
  }

  /// What a message says, field by field; of messages in it, in no particular order.
  private func text(_ bytes: [UInt8]) throws -> [String] {
    try WireReader.fields(bytes[...]).map { field in
      switch field.content {
      case .varint(let number): "\(field.number)=\(number)"
      case .bytes(let bytes) where field.number == 3 || field.number == 6:
        try "\(field.number)=\(text(Array(bytes)).sorted())"
      case .bytes(let bytes): "\(field.number)=\(String(decoding: bytes, as: UTF8.self))"
      default: "\(field.number)"
      }
    }
  }

  @Test("both kinds of names are read, and the order of keys does not matter")
  func reading() throws {
    #expect(try text(bytes(#"{"one": "x", "name": "y", "flag": true}"#)) == ["10=1", "1=y", "5=x"])
    let one = try bytes(#"{"free": {"b": 1.5, "a": [null, "2", false]}}"#)
    #expect(try bytes(#"{"free": {"a": [null, "2", false], "b": 1.5}}"#) == one)
  }

  private static let mistakes: [(String, String, String)] = [
    (#"{"nmae": "x"}"#, "nmae", "no such field in a.Thing; did you mean 'name'?"),
    (#"{"later": 1}"#, "later", "known to Envoy, not supported by Fairlead"),
    (#"{"inner": {"list": ["a", 3]}}"#, "inner.list[1]", "expected a string"),
    (#"{"words": {"k": []}}"#, "words[\"k\"]", "expected a string"),
    (#"{"one": "x", "two": {}}"#, "two", "cannot be set together with 'one'"),
    (#"{"any": {"@type": "x/a.Thng"}}"#, "any", "no such type 'a.Thng'"),
    (#"{"any": {"@type": "a.Thing"}}"#, "any", "expected '@type: type.googleapis.com/a.Thing'"),
    (#"{"any": {"name": "x"}}"#, "any", "missing '@type'"),
    (#"{"any": {"@type": "x/a.Thing", "nam": ""}}"#, "any.nam", "did you mean 'name'?"),
  ]

  @Test("mistakes have places", arguments: mistakes)
  func refusals(_ json: String, _ path: String, _ phrase: String) throws {
    let read = try #require(reader.read(value(json), as: "a.Thing"))
    // Keys stand in their order, so that of two the second is the mistake.
    #expect(read.problems.map(\.path.description) == [path])
    #expect(read.problems.first?.message.contains(phrase) == true, "\(read.problems)")
  }

  @Test("a type that is known by name alone is passed on as it stands")
  func typedStruct() throws {
    let read = try bytes(#"{"any": {"@type": "x/a.Newer", "some": {"thing": 1}}}"#)
    let any = try Google_Protobuf_Any(
      serializedBytes: #require(WireReader.fields(read[...]).first.flatMap(Self.content)))
    #expect(any.typeURL == "type.googleapis.com/xds.type.v3.TypedStruct")
    let fields = try WireReader.fields(Array(any.value)[...])
    #expect(try #require(fields.first.flatMap(Self.content)) == Array("x/a.Newer".utf8))
    let inner = try Google_Protobuf_Struct(
      serializedBytes: #require(fields.last.flatMap(Self.content)))
    #expect(inner == (try value(#"{"some": {"thing": 1}}"#)))
  }

  private static func content(_ field: WireField) -> [UInt8]? {
    if case .bytes(let bytes) = field.content { Array(bytes) } else { nil }
  }

  // MARK: Merging

  private static let merges: [(String, String, String)] = [
    (#"{"name": "a"}"#, #"{"name": "b"}"#, #"{"name": "b"}"#),
    (#"{"list": ["a"]}"#, #"{"list": ["b"]}"#, #"{"list": ["a", "b"]}"#),
    (
      #"{"inner": {"name": "a", "list": ["a"]}}"#, #"{"inner": {"list": ["b"], "flag": true}}"#,
      #"{"inner": {"name": "a", "list": ["a", "b"], "flag": true}}"#
    ),
    (
      #"{"words": {"a": "1", "b": "2"}}"#, #"{"words": {"b": "3"}}"#,
      #"{"words": {"a": "1", "b": "3"}}"#
    ),
    (#"{"one": "x"}"#, #"{"two": {"name": "y"}}"#, #"{"two": {"name": "y"}}"#),
    (#"{"two": {"name": "y"}}"#, #"{"one": "x"}"#, #"{"one": "x"}"#),
    (
      #"{"two": {"name": "y"}}"#, #"{"two": {"flag": true}}"#,
      #"{"two": {"name": "y", "flag": true}}"#
    ),
    (#"{"time": "1.5s"}"#, #"{"time": "2s"}"#, #"{"time": "2s"}"#),
    (#"{"number": 5}"#, #"{"number": 0}"#, #"{"number": 0}"#),
    (
      #"{"any": {"@type": "x/a.Thing", "name": "a"}}"#, #"{"any": {"@type": "x/a.Thing"}}"#,
      #"{"any": {"@type": "x/a.Thing"}}"#
    ),
    (#"{"flag": true}"#, #"{"flag": false}"#, #"{"flag": false}"#),
    ("{}", #"{"name": "a"}"#, #"{"name": "a"}"#), (#"{"name": "a"}"#, "{}", #"{"name": "a"}"#),
  ]

  @Test("one message is laid over another", arguments: merges)
  func merging(_ base: String, _ patch: String, _ wanted: String) throws {
    let merged = try reader.merge(bytes(base), bytes(patch), as: "a.Thing")
    #expect(try text(merged).sorted() == text(bytes(wanted)).sorted())
  }

  @Test("lists are replaced where that is asked for, at every depth")
  func replacing() throws {
    let base = try bytes(#"{"list": ["a"], "inner": {"list": ["b"], "name": "x"}}"#)
    let patch = try bytes(#"{"inner": {"list": ["c"]}}"#)
    let merged = reader.merge(base, patch, as: "a.Thing", replacingLists: true)
    #expect(
      try text(merged).sorted()
        == text(bytes(#"{"list": ["a"], "inner": {"name": "x", "list": ["c"]}}"#)).sorted())
  }

  @Test("what the schema lacks is kept")
  func unknown() throws {
    let field = WireField(number: 40, content: .fixed32(7))
    let other = WireField(number: 41, content: .fixed64(8))
    var base: [UInt8] = []
    WireWriter.write(field, to: &base)
    WireWriter.write(other, to: &base)
    let merged = try reader.merge(base, bytes(#"{"name": "a"}"#), as: "a.Thing")
    #expect(try text(merged) == ["40", "41", "1=a"])
  }
}
