import ResourceModel

/// One message: its fields by name and by number.
struct MessageSchema: Sendable {
  struct Oneof: Sendable {
    let name: String
    /// One of its fields has to be set.
    let isRequired: Bool
  }

  let name: String
  let fields: [FieldSchema]
  let oneofs: [Oneof]

  /// The position of a field by either of its names. Messages are small: a scan beats a table
  /// that every start of the process would have to build.
  func position(ofField name: String) -> Int? {
    fields.firstIndex { $0.name == name || $0.jsonName == name }
  }
}

/// One enum.
struct EnumSchema: Sendable {
  struct Value: Sendable {
    let name: String
    let number: Int32
  }

  let name: String
  let values: [Value]
}

/// Every message and enum of the model. Parsed once, from the generated table, in well under a
/// millisecond.
///
/// The table is lines of words:
///
///     message envoy.config.cluster.v3.Cluster
///     oneof cluster_discovery_type required
///     1 string name min_len=1
///     2 envoy.config.cluster.v3.Cluster.DiscoveryType type oneof=0
///     36 map<string,google.protobuf.Any> typed_extension_protocol_options
///     enum envoy.config.cluster.v3.Cluster.DiscoveryType
///     0 STATIC
struct SchemaCatalog: Sendable {
  /// Envoy's messages.
  static let shared = SchemaCatalog(parsing: schemaTable.description, dialect: .envoy)

  let dialect: SchemaDialect
  let messages: [MessageSchema]
  let enums: [EnumSchema]
  private let messageIndices: [Substring: Int]

  /// The index of a message by its full name.
  func index(ofMessage name: String) -> Int? { messageIndices[name[...]] }

  /// The index of a message that this program itself names.
  func index(of name: StaticString) -> Int {
    guard let index = index(ofMessage: name.description) else {
      preconditionFailure("the schema table lacks \(name)")
    }
    return index
  }

  init(parsing table: String, dialect: SchemaDialect) {
    self.dialect = dialect
    // Split as bytes: as characters it would be most of what a start costs. Two passes, because
    // types refer forward.
    let lines = table.utf8.split(separator: UInt8(ascii: "\n")).map { line in
      line.split(separator: UInt8(ascii: " ")).map(Substring.init)
    }
    var messageIndices: [Substring: Int] = [:]
    var enumIndices: [Substring: Int] = [:]
    for words in lines where words.count >= 2 {
      if words[0] == "message" { messageIndices[words[1]] = messageIndices.count }
      if words[0] == "enum" { enumIndices[words[1]] = enumIndices.count }
    }
    var messages: [MessageSchema] = []
    var enums: [EnumSchema] = []
    var at = 0
    while at < lines.count {
      let head = lines[at]
      precondition(head.count == 2, "the schema table is damaged")
      var end = at + 1
      while end < lines.count, lines[end][0] != "message", lines[end][0] != "enum" { end += 1 }
      let body = lines[(at + 1)..<end]
      if head[0] == "message" {
        messages.append(
          Self.message(String(head[1]), body, messages: messageIndices, enums: enumIndices))
      } else {
        let values = body.map { words in
          EnumSchema.Value(name: String(words[1]), number: Int32(words[0]) ?? 0)
        }
        enums.append(EnumSchema(name: String(head[1]), values: values))
      }
      at = end
    }
    self.messages = messages
    self.enums = enums
    self.messageIndices = messageIndices
  }

  private static func message(
    _ name: String, _ lines: ArraySlice<[Substring]>, messages: [Substring: Int],
    enums: [Substring: Int]
  ) -> MessageSchema {
    var oneofs: [MessageSchema.Oneof] = []
    var fields: [FieldSchema] = []
    for words in lines {
      if words[0] == "oneof" {
        oneofs.append(.init(name: String(words[1]), isRequired: words.count > 2))
      } else {
        fields.append(field(words, messages: messages, enums: enums))
      }
    }
    return MessageSchema(name: name, fields: fields, oneofs: oneofs)
  }

  private static func field(
    _ words: [Substring], messages: [Substring: Int], enums: [Substring: Int]
  ) -> FieldSchema {
    var type = words[1]
    var cardinality = Cardinality.single
    if type.utf8.first == UInt8(ascii: "[") {
      cardinality = .list
      type = type.dropFirst(2)
    } else if type.hasPrefix("map<string,") {
      cardinality = .map
      type = type.dropFirst("map<string,".count).dropLast()
    }
    var oneof: Int?
    var isDeprecated = false
    var rules: [FieldRule] = []
    for word in words.dropFirst(3) {
      if word == "deprecated" {
        isDeprecated = true
      } else if let rule = FieldRule(word: word) {
        rules.append(rule)
      } else if word.hasPrefix("oneof=") {
        oneof = Int(word.dropFirst(6))
      } else {
        preconditionFailure("the schema table has an unknown rule: \(word)")
      }
    }
    let name = String(words[2])
    return FieldSchema(
      name: name, jsonName: camelCase(name), number: UInt32(words[0]) ?? 0,
      type: valueType(type, messages: messages, enums: enums), cardinality: cardinality,
      oneof: oneof, isDeprecated: isDeprecated, rules: rules)
  }

  private static func valueType(
    _ name: Substring, messages: [Substring: Int], enums: [Substring: Int]
  ) -> ValueType {
    if let scalar = ScalarType(rawValue: String(name)) { return .scalar(scalar) }
    if let index = messages[name] { return .message(index) }
    if let index = enums[name] { return .enumeration(index) }
    switch name {
    case "google.protobuf.Any": return .any
    case "google.protobuf.Duration": return .duration
    case "google.protobuf.Struct": return .structure
    case "google.protobuf.Value": return .value
    case "google.protobuf.BoolValue": return .wrapper(.bool)
    case "google.protobuf.UInt32Value": return .wrapper(.uint32)
    case "google.protobuf.UInt64Value": return .wrapper(.uint64)
    case "google.protobuf.Int32Value": return .wrapper(.int32)
    case "google.protobuf.Int64Value": return .wrapper(.int64)
    case "google.protobuf.DoubleValue": return .wrapper(.double)
    case "google.protobuf.FloatValue": return .wrapper(.float)
    case "google.protobuf.StringValue": return .wrapper(.string)
    case "google.protobuf.BytesValue": return .wrapper(.bytes)
    default: preconditionFailure("the schema table has an unknown type: \(name)")
    }
  }

  /// `connect_timeout` to `connectTimeout`, as protobuf derives JSON names.
  private static func camelCase(_ name: String) -> String {
    guard name.utf8.contains(UInt8(ascii: "_")) else { return name }
    var bytes: [UInt8] = []
    var raiseNext = false
    for byte in name.utf8 {
      if byte == UInt8(ascii: "_") {
        raiseNext = true
      } else {
        let isLower = byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "z")
        bytes.append(raiseNext && isLower ? byte - 32 : byte)
        raiseNext = false
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
