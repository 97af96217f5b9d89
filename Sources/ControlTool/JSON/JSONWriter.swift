/// Writes a document for people: a member a line, four spaces a level, as istioctl does.
package enum JSONWriter {
  package static func write(_ value: JSONValue) -> String {
    var out = ""
    append(value, indent: 0, to: &out)
    return out
  }

  private static func append(_ value: JSONValue, indent: Int, to out: inout String) {
    switch value {
    case .null: out += "null"
    case .bool(let flag): out += flag ? "true" : "false"
    case .number(let text): out += text
    case .string(let text): out += quoted(text)
    case .array(let items):
      block("[", "]", of: items, indent: indent, to: &out) { item, out in
        append(item, indent: indent + 1, to: &out)
      }
    case .object(let members):
      block("{", "}", of: members, indent: indent, to: &out) { member, out in
        out += quoted(member.name) + ": "
        append(member.value, indent: indent + 1, to: &out)
      }
    }
  }

  private static func block<Element>(
    _ open: String, _ close: String, of elements: [Element], indent: Int, to out: inout String,
    each: (Element, inout String) -> Void
  ) {
    out += open
    guard !elements.isEmpty else {
      out += close
      return
    }
    for (index, element) in elements.enumerated() {
      out += (index == 0 ? "\n" : ",\n") + margin(indent + 1)
      each(element, &out)
    }
    out += "\n" + margin(indent) + close
  }

  private static func margin(_ level: Int) -> String { String(repeating: "    ", count: level) }

  /// A string as RFC 8259 §7 writes it.
  package static func quoted(_ text: String) -> String {
    var out = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": out += "\\\""
      case "\\": out += "\\\\"
      case "\n": out += "\\n"
      case "\r": out += "\\r"
      case "\t": out += "\\t"
      case _ where scalar.value < 0x20 || scalar.value == 0x7f:
        let digits = String(scalar.value, radix: 16)
        out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: out.unicodeScalars.append(scalar)
      }
    }
    return out + "\""
  }
}
