/// A JSON document of the administration listener. Members keep their order: people read these.
package indirect enum AdminJSON {
  case null
  case bool(Bool)
  case integer(Int64)
  case double(Double)
  case string(String)
  case array([AdminJSON])
  case object([(name: String, value: AdminJSON)])

  /// The document in Envoy's layout: one space for each level.
  package var text: String {
    var out = ""
    append(to: &out, indent: "\n")
    return out
  }

  private func append(to out: inout String, indent: String) {
    switch self {
    case .null: out += "null"
    case .bool(let value): out += value ? "true" : "false"
    case .integer(let value): out += String(value)
    case .double(let value): Self.append(value, to: &out)
    case .string(let value): Self.append(value, to: &out)
    case .array(let items):
      guard !items.isEmpty else {
        out += "[]"
        return
      }
      let inner = indent + " "
      var separator = "["
      for item in items {
        out += separator + inner
        item.append(to: &out, indent: inner)
        separator = ","
      }
      out += indent + "]"
    case .object(let members):
      guard !members.isEmpty else {
        out += "{}"
        return
      }
      let inner = indent + " "
      var separator = "{"
      for member in members {
        out += separator + inner
        Self.append(member.name, to: &out)
        out += ": "
        member.value.append(to: &out, indent: inner)
        separator = ","
      }
      out += indent + "}"
    }
  }

  /// Numbers that JSON has no word for are strings, as in protobuf's JSON.
  private static func append(_ value: Double, to out: inout String) {
    if value.isNaN {
      out += "\"NaN\""
      return
    }
    if value.isInfinite {
      out += value < 0 ? "\"-Infinity\"" : "\"Infinity\""
      return
    }
    if let whole = Int64(exactly: value) {
      out += String(whole)
      return
    }
    out += "\(value)"
  }

  private static func append(_ value: String, to out: inout String) {
    out += "\""
    for scalar in value.unicodeScalars {
      switch scalar {
      case "\"": out += "\\\""
      case "\\": out += "\\\\"
      case "\n": out += "\\n"
      case "\r": out += "\\r"
      case "\t": out += "\\t"
      default:
        guard scalar.value < 0x20 || scalar.value == 0x7F else {
          out.unicodeScalars.append(scalar)
          continue
        }
        let digits = String(scalar.value, radix: 16)
        out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      }
    }
    out += "\""
  }
}

extension AdminResponse {
  /// An answer that is a JSON document.
  package init(json: AdminJSON) { self.init(json: json.text + "\n") }
}
