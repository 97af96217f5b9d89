/// What stands in a document, whatever it is meant as: for whoever stores, shows or compares objects.
package indirect enum ObjectValue: Equatable, Sendable {
  /// Nothing: `null`, `~`, or an empty place.
  case null
  /// A word without quotes, which may be more than a string: `true`, `0x10`, `1.10`.
  case plain(String)
  case string(String)
  case list([ObjectValue])
  /// In the order in which it was written.
  case map([Member])

  /// A key and its value.
  package struct Member: Equatable, Sendable {
    package var name: String
    package var value: ObjectValue

    package init(_ name: String, _ value: ObjectValue) {
      self.name = name
      self.value = value
    }
  }

  /// What a word without quotes means.
  package enum Meaning: Equatable {
    case bool(Bool)
    case integer(Int64)
    case number(Double)
    case text(String)
  }
}

extension ObjectValue {
  /// The member of a map; nil when there is none.
  package subscript(_ name: String) -> ObjectValue? {
    get {
      guard case .map(let members) = self else { return nil }
      return members.first { $0.name == name }?.value
    }
    set {
      guard case .map(var members) = self else { return }
      let place = members.firstIndex { $0.name == name }
      switch (newValue, place) {
      case (let value?, let place?): members[place].value = value
      case (let value?, nil): members.append(Member(name, value))
      case (nil, let place?): members.remove(at: place)
      case (nil, nil): break
      }
      self = .map(members)
    }
  }

  /// The text of a scalar.
  package var text: String? {
    switch self {
    case .plain(let text), .string(let text): text
    case .null, .list, .map: nil
    }
  }

  /// What a scalar means; nil for anything else.
  package var meaning: Meaning? {
    switch self {
    case .string(let text): return .text(text)
    case .plain(let text):
      return switch YAMLScalar(text: text) {
      case .bool(let value): .bool(value)
      case .integer(let value): .integer(value)
      case .number(let value): .number(value)
      case .null, .string: .text(text)
      }
    case .null, .list, .map: return nil
    }
  }

  fileprivate init(_ document: YAMLDocument, _ index: Int) {
    let node = document.nodes[index]
    switch node.kind {
    case .scalar:
      if !node.isPlain {
        self = .string(node.text)
      } else {
        switch YAMLScalar(node) {
        case .null: self = .null
        // Text without quotes is written with them from here on: nothing can be mistaken then.
        case .string: self = .string(node.text)
        case .bool, .integer, .number: self = .plain(node.text)
        }
      }
    case .sequence:
      self = .list(document.children(of: index).map { ObjectValue(document, $0) })
    case .mapping:
      let children = Array(document.children(of: index))
      self = .map(
        stride(from: 0, to: children.count - 1, by: 2).map {
          Member(
            document.nodes[children[$0]].text, ObjectValue(document, children[$0 + 1]))
        })
    }
  }
}

extension YAMLScalar {
  /// What text without quotes means.
  fileprivate init(text: String) {
    self.init(
      YAMLDocument.Node(
        kind: .scalar, mark: YAMLMark(line: 1, column: 1), text: text, isPlain: true,
        children: 0..<0, weight: 1, height: 0))
  }
}

extension ObjectDocument {
  /// Everything that stands in it.
  package var value: ObjectValue { ObjectValue(document, node) }
}

extension ObjectValue {
  /// The value as a YAML document, in blocks. Read again, it is the same.
  package var yaml: String {
    var out = ""
    append(to: &out, indent: 0)
    return out
  }

  private var isEmptyBlock: Bool {
    switch self {
    case .list(let items): items.isEmpty
    case .map(let members): members.isEmpty
    case .null, .plain, .string: true
    }
  }

  /// Writes lines, each with its end, the first where the writer stands.
  private func append(to out: inout String, indent: Int) {
    let margin = String(repeating: " ", count: indent)
    switch self {
    case .list(let items) where !items.isEmpty:
      for (index, item) in items.enumerated() {
        if index > 0 { out += margin }
        out += "- "
        item.append(to: &out, indent: indent + 2)
      }
    case .map(let members) where !members.isEmpty:
      for (index, member) in members.enumerated() {
        if index > 0 { out += margin }
        out += Self.key(member.name) + ":"
        member.value.appendBehindKey(to: &out, indent: indent)
      }
    default: out += flow + "\n"
    }
  }

  private func appendBehindKey(to out: inout String, indent: Int) {
    guard !isEmptyBlock else {
      out += " " + flow + "\n"
      return
    }
    let inner = if case .list = self { indent } else { indent + 2 }
    out += "\n" + String(repeating: " ", count: inner)
    append(to: &out, indent: inner)
  }

  /// On one line.
  private var flow: String {
    switch self {
    case .null: "null"
    case .plain(let text): text
    case .string(let text): Self.key(text)
    case .list: "[]"
    case .map: "{}"
    }
  }

  /// Text as it may stand: without quotes where it then is itself, else in double quotes.
  private static func key(_ text: String) -> String {
    let isWord = text.utf8.allSatisfy {
      ($0 >= UInt8(ascii: "a") && $0 <= UInt8(ascii: "z"))
        || ($0 >= UInt8(ascii: "A") && $0 <= UInt8(ascii: "Z"))
        || ($0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9"))
        || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: ".")
        || $0 == UInt8(ascii: "/")
    }
    let startsWord =
      text.utf8.first.map {
        ($0 | 0x20) >= UInt8(ascii: "a") && ($0 | 0x20) <= UInt8(ascii: "z")
      } ?? false
    if isWord, startsWord, YAMLScalar(text: text) == .string { return text }
    return quoted(text)
  }

  private static func quoted(_ text: String) -> String {
    var out = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": out += "\\\""
      case "\\": out += "\\\\"
      case "\n": out += "\\n"
      case "\t": out += "\\t"
      // Control characters, and the line ends that YAML knows besides (YAML 1.1 §4.2).
      case _ where scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value),
        "\u{2028}", "\u{2029}", "\u{FEFF}", "\u{FFFE}", "\u{FFFF}":
        let digits = String(scalar.value, radix: 16)
        out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: out.unicodeScalars.append(scalar)
      }
    }
    return out + "\""
  }
}
