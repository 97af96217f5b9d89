/// Writes a document as YAML, in blocks.
package enum YAMLWriter {
  package static func write(_ value: JSONValue) -> String {
    var out = ""
    append(value, indent: 0, to: &out)
    return out
  }

  /// Writes a value at the place where its lines begin, each with a line's end.
  private static func append(_ value: JSONValue, indent: Int, to out: inout String) {
    let margin = String(repeating: " ", count: indent)
    switch value {
    case .array(let items) where !items.isEmpty:
      for item in items {
        var inner = ""
        append(item, indent: indent + 2, to: &inner)
        // The first line of an element stands behind its dash.
        out += margin + "- " + inner.dropFirst(isBlock(item) ? indent + 2 : 0)
      }
    case .object(let members) where !members.isEmpty:
      for member in members {
        out += margin + scalar(member.name) + ":"
        guard isBlock(member.value) else {
          out += " " + flow(member.value) + "\n"
          continue
        }
        out += "\n"
        // Lists stand as far to the left as the name that they belong to.
        let deeper = if case .array = member.value { indent } else { indent + 2 }
        append(member.value, indent: deeper, to: &out)
      }
    default: out += flow(value) + "\n"
    }
  }

  private static func isBlock(_ value: JSONValue) -> Bool {
    !value.items.isEmpty || !value.members.isEmpty
  }

  private static func flow(_ value: JSONValue) -> String {
    switch value {
    case .null: "null"
    case .bool(let flag): flag ? "true" : "false"
    case .number(let text): text
    case .string(let text): scalar(text)
    case .array: "[]"
    case .object: "{}"
    }
  }

  /// Plain where every reader of YAML, of whatever version, takes it for the same string.
  private static func scalar(_ text: String) -> String {
    isPlain(text) ? text : JSONWriter.quoted(text)
  }

  private static let words: Set<String> = [
    "null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf",
  ]

  private static func isPlain(_ text: String) -> Bool {
    guard let first = text.unicodeScalars.first, Double(text) == nil,
      !words.contains(text.lowercased()), !text.hasSuffix(":"), !text.hasSuffix(" ")
    else { return false }
    // What begins like a number may be one to some reader: a date, 1_000, 0x10, 1:30.
    guard first.properties.isAlphabetic || first == "/" || first == "_" else {
      return false
    }
    return text.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value < 0x7f }
      && !text.contains(": ") && !text.contains(" #")
  }
}
