import CFilterABI

/// A configuration document, written as a literal.
indirect enum Document {
  case bool(Bool)
  case number(Double)
  case string(String)
  case list([Document])
  case message([String: Document], type: String = "test.Message")
  case map([(String, Document)])
  case milliseconds(UInt64)

  static func seconds(_ seconds: UInt64) -> Document { .milliseconds(seconds * 1000) }

  /// `envoy.type.v3.FractionalPercent`, in hundredths.
  static func percent(_ percent: Double) -> Document { ["numerator": .number(percent)] }

  /// A `HeaderMatcher` for one value.
  static func header(_ name: String, exact: String) -> Document {
    ["name": .string(name), "string_match": ["exact": .string(exact)]]
  }

  /// A `HeaderMatcher` for any value.
  static func header(present name: String) -> Document {
    ["name": .string(name), "present_match": true]
  }

  /// A `HeaderValueOption`.
  static func option(_ name: String, _ value: String) -> Document {
    ["header": ["key": .string(name), "value": .string(value)]]
  }

  subscript(field: String) -> Document? {
    guard case .message(let fields, _) = self else { return nil }
    return fields[field]
  }

  var text: String? { if case .string(let text) = self { text } else { nil } }
  var double: Double? { if case .number(let number) = self { number } else { nil } }
  var items: [Document] {
    switch self {
    case .list(let items): items
    case .map(let entries): entries.map(\.1)
    default: []
    }
  }

  var kind: fl_node_kind {
    switch self {
    case .bool: FL_NODE_BOOL
    case .number: FL_NODE_NUMBER
    case .string: FL_NODE_STRING
    case .list, .map: FL_NODE_LIST
    case .message: FL_NODE_MESSAGE
    case .milliseconds: FL_NODE_DURATION
    }
  }
}

extension Document: ExpressibleByBooleanLiteral, ExpressibleByFloatLiteral,
  ExpressibleByIntegerLiteral, ExpressibleByStringLiteral, ExpressibleByArrayLiteral,
  ExpressibleByDictionaryLiteral
{
  init(booleanLiteral value: Bool) { self = .bool(value) }
  init(floatLiteral value: Double) { self = .number(value) }
  init(integerLiteral value: Int) { self = .number(Double(value)) }
  init(stringLiteral value: String) { self = .string(value) }
  init(arrayLiteral elements: Document...) { self = .list(elements) }
  init(dictionaryLiteral elements: (String, Document)...) {
    self = .message(Dictionary(uniqueKeysWithValues: elements))
  }
}
