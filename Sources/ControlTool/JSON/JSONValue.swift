/// A JSON document. Members keep the order in which they came, and numbers their text: what is shown
/// is what the proxy said.
package enum JSONValue: Equatable, Sendable {
  case null
  case bool(Bool)
  case number(String)
  case string(String)
  case array([JSONValue])
  case object([JSONMember])
}

/// A name and its value.
package struct JSONMember: Equatable, Sendable {
  package var name: String
  package var value: JSONValue

  package init(_ name: String, _ value: JSONValue) {
    self.name = name
    self.value = value
  }
}

extension JSONValue {
  /// The member of that name; null where there is none, so that a path can be followed to its end.
  package subscript(name: String) -> JSONValue {
    guard case .object(let members) = self else { return .null }
    return members.first { $0.name == name }?.value ?? .null
  }

  package var isNull: Bool { self == .null }

  package var stringValue: String? {
    if case .string(let text) = self { text } else { nil }
  }

  /// A string, or an empty one.
  package var text: String { stringValue ?? "" }

  package var boolValue: Bool? {
    if case .bool(let value) = self { value } else { nil }
  }

  /// A whole number, also one that is written as a string: so protobuf writes those of 64 bits.
  package var integerValue: Int? {
    switch self {
    case .number(let text): Int(text) ?? Double(text).flatMap { Int(exactly: $0) }
    case .string(let text): Int(text)
    default: nil
    }
  }

  /// The elements; none when it is no list.
  package var items: [JSONValue] {
    if case .array(let items) = self { items } else { [] }
  }

  /// The members; none when it is no object.
  package var members: [JSONMember] {
    if case .object(let members) = self { members } else { [] }
  }

  /// The texts of a list of strings.
  package var texts: [String] { items.compactMap(\.stringValue) }

  /// The same without a member.
  package func without(_ name: String) -> JSONValue {
    guard case .object(let members) = self else { return self }
    return .object(members.filter { $0.name != name })
  }

  /// The same with a member's value replaced; it stays where it is.
  package func replacing(_ name: String, with value: JSONValue) -> JSONValue {
    guard case .object(let members) = self else { return self }
    return .object(members.map { $0.name == name ? JSONMember(name, value) : $0 })
  }
}
