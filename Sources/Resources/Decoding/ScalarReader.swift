/// Why a value does not fit its field, worded for the person who wrote it.
struct ValueError: Error, Equatable {
  let message: String
}

/// Reads one scalar of a document as the type its field has, by proto3's JSON mapping.
struct ScalarReader {
  let catalog: SchemaCatalog
  /// The file is JSON: a number is a number, and nothing else looks like one.
  let isJSON: Bool

  /// A value as the tree stores it, without its place.
  typealias Value = ConfigTree.Node

  func read(_ node: YAMLDocument.Node, as type: ValueType) throws(ValueError) -> Value {
    switch type {
    case .scalar(let scalar), .wrapper(let scalar): try read(node, as: scalar)
    case .duration: try duration(node)
    case .enumeration(let index): try enumeration(node, index)
    case .value: freeForm(node)
    case .structure, .any, .message:
      throw ValueError(message: "expected a mapping, found \(Self.phrase(node))")
    }
  }

  /// A scalar among free-form values. Envoy keeps what YAML calls a number only if it is a whole
  /// one of 32 bits; the text of all others passes as a string.
  func freeForm(_ node: YAMLDocument.Node) -> Value {
    switch YAMLScalar(node) {
    case .null: value(.null)
    case .bool(let bool): value(.bool, bits: bool ? 1 : 0)
    case .integer(let integer) where isJSON || Int32(exactly: integer) != nil:
      value(.number, bits: Double(integer).bitPattern)
    case .number(let number) where isJSON: value(.number, bits: number.bitPattern)
    case .integer, .number, .string: value(.string, text: node.text)
    }
  }

  private func read(
    _ node: YAMLDocument.Node, as scalar: ScalarType
  ) throws(ValueError) -> Value {
    switch scalar {
    case .bool:
      return value(.bool, bits: try bool(node) ? 1 : 0)
    case .string: return value(.string, text: try string(node))
    case .bytes:
      // What stands there may be a secret that somebody forgot to encode: it is not quoted.
      guard let bytes = Base64.decode(try string(node)) else {
        throw ValueError(message: "expected base64")
      }
      var result = value(.bytes)
      result.bytes = bytes
      return result
    case .double, .float: return value(.number, bits: try double(node).bitPattern)
    case .uint64:
      guard let number = unsigned(node) else { throw expected("a whole number from 0", node) }
      return value(.number, bits: number, scalar: scalar)
    case .uint32:
      guard let number = unsigned(node), number <= UInt32.max else {
        throw expected("a whole number from 0 to \(UInt32.max)", node)
      }
      return value(.number, bits: number, scalar: scalar)
    case .int32:
      guard let number = signed(node), Int32(exactly: number) != nil else {
        throw expected("a whole number from \(Int32.min) to \(Int32.max)", node)
      }
      return value(.number, bits: UInt64(bitPattern: number), scalar: scalar)
    case .int64:
      guard let number = signed(node) else { throw expected("a whole number", node) }
      return value(.number, bits: UInt64(bitPattern: number), scalar: scalar)
    }
  }

  private func bool(_ node: YAMLDocument.Node) throws(ValueError) -> Bool {
    if case .bool(let bool) = YAMLScalar(node) { return bool }
    // In quotes only the words of JSON.
    switch node.text {
    case "true": return true
    case "false": return false
    default: throw expected("true or false", node)
    }
  }

  /// A string. Unquoted text that YAML takes for a boolean or a small number is refused, as by
  /// Envoy: the author may not have meant the letters.
  private func string(_ node: YAMLDocument.Node) throws(ValueError) -> String {
    switch YAMLScalar(node) {
    case .string: return node.text
    case .integer(let integer) where !isJSON && Int32(exactly: integer) == nil: return node.text
    case .number where !isJSON: return node.text
    case .null: throw ValueError(message: "expected a string, found null")
    case .bool, .integer, .number:
      throw ValueError(
        message: "expected a string, found \(Self.phrase(node)); write \"\(node.text)\"")
    }
  }

  private func double(_ node: YAMLDocument.Node) throws(ValueError) -> Double {
    switch YAMLScalar(node) {
    case .integer(let integer): return Double(integer)
    case .number(let number): return number
    case .string:
      switch node.text {
      case "NaN": return .nan
      case "Infinity": return .infinity
      case "-Infinity": return -.infinity
      default: if let number = YAMLScalar.decimal(node.text) { return number }
      }
    case .null, .bool: break
    }
    throw expected("a number", node)
  }

  private func signed(_ node: YAMLDocument.Node) -> Int64? {
    switch YAMLScalar(node) {
    case .integer(let integer): integer
    case .number(let number): Int64(exactly: number)
    case .string: plainDigits(node.text).flatMap { Int64($0) }
    case .null, .bool: nil
    }
  }

  private func unsigned(_ node: YAMLDocument.Node) -> UInt64? {
    switch YAMLScalar(node) {
    case .integer(let integer): UInt64(exactly: integer)
    // Too large for 64 bits with a sign, but perhaps not without.
    case .number(let number): UInt64(node.text) ?? UInt64(exactly: number)
    case .string: plainDigits(node.text).flatMap { UInt64($0) }
    case .null, .bool: nil
    }
  }

  /// Numbers may stand in quotes: that is how JSON writes those of 64 bits.
  private func plainDigits(_ text: String) -> String? {
    let digits = text.hasPrefix("-") ? text.dropFirst() : text[...]
    let isDigits = digits.utf8.allSatisfy { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
    return isDigits && !digits.isEmpty ? text : nil
  }

  private func enumeration(
    _ node: YAMLDocument.Node, _ index: Int
  ) throws(ValueError) -> Value {
    let schema = catalog.enums[index]
    var found = schema.values.first { $0.name == node.text }
    if found == nil, case .integer(let number) = YAMLScalar(node) {
      found = schema.values.first { Int64($0.number) == number }
    }
    guard let found else {
      var message = "no value '\(Self.shorten(node.text))' in \(schema.name)"
      if catalog.dialect.names.has(node.text, in: schema.name) {
        message =
          "value '\(node.text)' is known to \(catalog.dialect.owner), not supported by Fairlead"
      }
      if schema.values.count <= 10 {
        message += "; expected one of " + schema.values.map(\.name).joined(separator: ", ")
      }
      message += Suggestion.phrase(for: node.text, among: schema.values.map(\.name))
      throw ValueError(message: message)
    }
    var result = value(
      .enumeration, bits: UInt64(bitPattern: Int64(found.number)), text: found.name)
    result.type = index
    return result
  }

  /// `0.25s`: seconds with at most nine digits of fraction.
  private func duration(_ node: YAMLDocument.Node) throws(ValueError) -> Value {
    guard case .string = YAMLScalar(node), let (seconds, nanoseconds) = durationParts(node.text)
    else {
      let example =
        catalog.dialect.hasGoDurations
        ? "such as 10s, 1m30s or 250ms" : "in seconds such as \"0.25s\""
      throw expected("a duration \(example)", node)
    }
    guard seconds < ConfigLimits.durationSeconds else {
      throw expected("a duration below \(ConfigLimits.durationSeconds)s", node)
    }
    var result = value(.duration, bits: UInt64(bitPattern: seconds))
    result.nanoseconds = nanoseconds
    return result
  }

  private func durationParts(_ text: String) -> (seconds: Int64, nanoseconds: Int32)? {
    catalog.dialect.hasGoDurations ? DurationText.parseGo(text) : DurationText.parse(text)
  }

  private func value(
    _ kind: ConfigKind, bits: UInt64 = 0, scalar: ScalarType = .double, text: String = ""
  ) -> Value {
    var node = ConfigTree.Node(
      kind: kind, location: SourceLocation(file: 0, line: 0, column: 0), parent: -1, field: -1)
    node.bits = bits
    node.scalar = scalar
    node.text = text
    return node
  }

  private func expected(_ what: String, _ node: YAMLDocument.Node) -> ValueError {
    ValueError(message: "expected \(what), found \(Self.phrase(node))")
  }

  /// What stands in the document, in words.
  static func phrase(_ node: YAMLDocument.Node) -> String {
    switch node.kind {
    case .mapping: return "a mapping"
    case .sequence: return "a list"
    case .scalar: break
    }
    switch YAMLScalar(node) {
    case .null: return "null"
    case .bool: return "the boolean \(node.text)"
    case .integer, .number: return "the number \(shorten(node.text))"
    case .string: return "the string \"\(shorten(node.text))\""
    }
  }

  /// A report quotes the beginning of a text: enough to recognise it.
  static func shorten(_ text: String) -> String {
    text.unicodeScalars.count <= 60 ? text : String(text.unicodeScalars.prefix(57)) + "..."
  }
}
