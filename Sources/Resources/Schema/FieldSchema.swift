/// A type without structure, as protobuf names it.
enum ScalarType: String, Sendable {
  case double, float, int32, int64, uint32, uint64, bool, string, bytes
}

/// What a field, or each item of a list or map, holds.
enum ValueType: Sendable, Equatable {
  case scalar(ScalarType)
  /// `google.protobuf.Duration`, written as "0.25s".
  case duration
  /// `google.protobuf.UInt32Value` and its kind: a scalar that can be absent.
  case wrapper(ScalarType)
  /// `google.protobuf.Struct`: a free-form map.
  case structure
  /// `google.protobuf.Value`: any free-form value.
  case value
  /// `google.protobuf.Any`: a message that names its own type.
  case any
  /// An enum of the catalog, by index.
  case enumeration(Int)
  /// A message of the catalog, by index.
  case message(Int)
}

/// How many values a field holds.
enum Cardinality: Sendable {
  case single
  case list
  /// A map; its keys are strings everywhere in the model.
  case map
}

/// One field of a message.
struct FieldSchema: Sendable {
  let name: String
  /// The name in camelCase, which proto3's JSON mapping also takes.
  let jsonName: String
  let number: UInt32
  let type: ValueType
  let cardinality: Cardinality
  /// The oneof this field belongs to, by index.
  let oneof: Int?
  let isDeprecated: Bool
  let rules: [FieldRule]

  /// Whether a value that was never written reads as zero or empty, and is checked as that.
  var hasImplicitDefault: Bool {
    guard oneof == nil, cardinality == .single else { return false }
    switch type {
    case .scalar, .enumeration: return true
    case .duration, .wrapper, .structure, .value, .any, .message: return false
    }
  }
}

/// A bound that the published API sets on a field.
struct FieldRule: Sendable {
  /// What the bound applies to.
  enum Scope: Sendable { case field, items, keys }

  enum Check: Sendable, Equatable {
    case required
    case minLength(Int)
    case maxBytes(Int)
    case minItems(Int)
    case maxItems(Int)
    case unique
    /// No NUL, CR or LF: fit for a header's name or value.
    case singleLine
    /// What a header can be called.
    case fieldName
    /// A path prefix that can be followed by `/`: no `?` or `#`, no `/` at the end.
    case separatedPrefix
    case oneOf([String])
    case noneOf([Int])
    case mustBeTrue
    /// Bounds on a number, or on a duration in nanoseconds.
    case above(Double)
    case atLeast(Double)
    case below(Double)
    case atMost(Double)
  }

  let scope: Scope
  let check: Check

  /// Reads one word of the schema table, such as `items.min_len=1`.
  init?(word: Substring) {
    var word = word
    if word.hasPrefix("items.") {
      scope = .items
      word = word.dropFirst(6)
    } else if word.hasPrefix("keys.") {
      scope = .keys
      word = word.dropFirst(5)
    } else {
      scope = .field
    }
    guard let check = Self.check(word) else { return nil }
    self.check = check
  }

  private static func check(_ word: Substring) -> Check? {
    let parts = word.split(separator: "=", maxSplits: 1)
    guard let name = parts.first else { return nil }
    guard parts.count == 2 else { return flag(name) }
    let value = parts[1]
    switch name {
    case "min_len": return Int(value).map(Check.minLength)
    case "max_bytes", "max_len": return Int(value).map(Check.maxBytes)
    case "min_items": return Int(value).map(Check.minItems)
    case "max_items": return Int(value).map(Check.maxItems)
    case "in": return .oneOf(value.split(separator: ",").map(String.init))
    case "not_in": return .noneOf(value.split(separator: ",").compactMap { Int($0) })
    case "gt": return Double(value).map(Check.above)
    case "gte": return Double(value).map(Check.atLeast)
    case "lt": return Double(value).map(Check.below)
    case "lte": return Double(value).map(Check.atMost)
    default: return nil
    }
  }

  private static func flag(_ name: Substring) -> Check? {
    switch name {
    case "required": .required
    case "unique": .unique
    case "single_line": .singleLine
    case "field_name": .fieldName
    case "separated_prefix": .separatedPrefix
    case "must_be_true": .mustBeTrue
    default: nil
    }
  }
}
