/// Checks a tree against the bounds that the API sets on single fields.
struct RuleChecker {
  let tree: ConfigTree
  let diagnostics: Diagnostics

  /// Checks everything from the root down.
  static func check(_ tree: ConfigTree, diagnostics: Diagnostics) {
    RuleChecker(tree: tree, diagnostics: diagnostics).check(tree.root)
  }

  private func check(_ node: ConfigNode) {
    guard !diagnostics.isFull else { return }
    if node.kind == .message { checkFields(of: node) }
    for child in node.storage.children where tree.nodes[child].hasStructure {
      check(ConfigNode(tree: tree, id: child))
    }
  }

  private func checkFields(of node: ConfigNode) {
    let schema = tree.catalog.messages[node.storage.type]
    for (position, field) in schema.fields.enumerated() where !field.rules.isEmpty {
      if let child = tree.child(of: node.id, field: position) {
        check(ConfigNode(tree: tree, id: child), against: field)
      } else if !node.storage.hasUnknownField {
        checkAbsent(field, in: node)
      }
    }
    // A misspelt field is one mistake, not also a missing one.
    guard !node.storage.hasUnknownField else { return }
    for (index, oneof) in schema.oneofs.enumerated()
    where oneof.isRequired && !isSet(index, in: node, schema) {
      let names = schema.fields.filter { $0.oneof == index }.map(\.name)
      diagnostics.error(
        at: node,
        names.count == 1
          ? "'\(names[0])' is missing" : "one of \(names.joined(separator: ", ")) is missing")
    }
  }

  private func isSet(_ oneof: Int, in node: ConfigNode, _ schema: MessageSchema) -> Bool {
    node.storage.children.contains { schema.fields[tree.nodes[$0].field].oneof == oneof }
  }

  private func check(_ node: ConfigNode, against field: FieldSchema) {
    for rule in field.rules where node.kind != .invalid {
      switch rule.scope {
      case .field: check(node, rule.check)
      case .items:
        for child in node.storage.children { check(ConfigNode(tree: tree, id: child), rule.check) }
      case .keys:
        for child in node.storage.children where !fits(text: tree.nodes[child].key, rule.check) {
          diagnostics.error(at: ConfigNode(tree: tree, id: child), "the key is empty")
        }
      }
    }
  }

  private func check(_ node: ConfigNode, _ check: FieldRule.Check) {
    guard node.kind != .invalid, let failure = failure(of: node, check) else { return }
    diagnostics.error(at: node, failure)
  }

  /// What is wrong with a value that was written; nothing if it is within the bound.
  private func failure(of node: ConfigNode, _ check: FieldRule.Check) -> String? {
    switch check {
    case .required: return nil
    case .minItems(let least):
      return node.count < least ? "expected at least \(least) item, found \(node.count)" : nil
    case .maxItems(let most):
      return node.count > most ? "expected at most \(most) items, found \(node.count)" : nil
    case .unique: return hasTwins(node) ? "expected every item only once" : nil
    case .mustBeTrue: return node.boolValue == false ? "can only be true" : nil
    case .noneOf(let numbers):
      guard let number = node.integerValue, numbers.contains(Int(number)) else { return nil }
      return "the value \(node.stringValue ?? "\(number)") is not allowed here"
    case .above, .atLeast, .below, .atMost:
      guard let value = measure(node), !fits(value, check) else { return nil }
      let isDuration = node.kind == .duration
      return "expected \(phrase(check, isDuration: isDuration)), "
        + "found \(show(value, isDuration: isDuration))"
    case .minLength, .maxBytes, .singleLine, .fieldName, .separatedPrefix, .oneOf:
      guard let text = node.stringValue, !fits(text: text, check) else { return nil }
      return phrase(text, check)
    }
  }

  /// A field that was not written counts as empty or zero, or else as absent.
  private func checkAbsent(_ field: FieldSchema, in node: ConfigNode) {
    for rule in field.rules where rule.scope == .field {
      let failure: String? =
        switch rule.check {
        case .required where field.oneof == nil: "missing"
        case .minItems(let least) where field.cardinality != .single:
          "missing; expected at least \(least) item"
        case .minLength where field.hasImplicitDefault: "missing"
        case .above, .atLeast, .below, .atMost:
          field.hasImplicitDefault && !fits(0, rule.check)
            ? "missing; expected \(phrase(rule.check, isDuration: false))" : nil
        default: nil
        }
      guard let failure else { continue }
      diagnostics.report(
        .error, failure, path: node.path.field(field.name), at: node.location)
    }
  }

  // MARK: Measures

  private func measure(_ node: ConfigNode) -> Double? {
    node.durationNanoseconds.map { Double($0) } ?? node.numberValue
  }

  private func fits(_ value: Double, _ check: FieldRule.Check) -> Bool {
    switch check {
    case .above(let bound): value > bound
    case .atLeast(let bound): value >= bound
    case .below(let bound): value < bound
    case .atMost(let bound): value <= bound
    default: true
    }
  }

  private func fits(text: String, _ check: FieldRule.Check) -> Bool {
    switch check {
    case .minLength(let least): return text.unicodeScalars.count >= least
    case .maxBytes(let most): return text.utf8.count <= most
    case .singleLine: return !text.utf8.contains { $0 == 0 || $0 == 10 || $0 == 13 }
    case .fieldName: return Self.isFieldName(text)
    case .separatedPrefix:
      let isPlain = !text.utf8.contains { $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") }
      return isPlain && text.utf8.count >= 2 && !text.hasSuffix("/")
    case .oneOf(let values): return values.contains(text)
    default: return true
    }
  }

  /// A field's name, or a pseudo-field's (RFC 9110 §5.1); a name that is not set is checked by others.
  private static func isFieldName(_ text: String) -> Bool {
    let name = text.utf8.starts(with: ":".utf8) ? text.utf8.dropFirst() : text.utf8[...]
    guard !name.isEmpty else { return text.isEmpty }
    return name.allSatisfy { byte in
      byte &- 48 < 10 || (byte | 32) &- 97 < 26 || "!#$%&'*+-.^_`|~".utf8.contains(byte)
    }
  }

  /// Whether a list holds the same number or text twice.
  private func hasTwins(_ node: ConfigNode) -> Bool {
    var seen: Set<String> = []
    return node.storage.children.contains { child in
      let item = tree.nodes[child]
      return !seen.insert("\(item.bits) \(item.text)").inserted
    }
  }

  // MARK: Words

  private func phrase(_ text: String, _ check: FieldRule.Check) -> String {
    switch check {
    case .minLength: "may not be empty"
    case .maxBytes(let most): "expected at most \(most) bytes, found \(text.utf8.count)"
    case .singleLine: "may not contain NUL, CR or LF"
    case .fieldName: "expected the name of a header, found \"\(text)\""
    case .separatedPrefix: "expected a path without '?' or '#' that does not end in '/'"
    case .oneOf(let values):
      "no value '\(ScalarReader.shorten(text))'; expected one of "
        + values.joined(separator: ", ") + Suggestion.phrase(for: text, among: values)
    default: "not allowed"
    }
  }

  private func phrase(_ check: FieldRule.Check, isDuration: Bool) -> String {
    switch check {
    case .above(let bound): "more than \(show(bound, isDuration: isDuration))"
    case .atLeast(let bound): "at least \(show(bound, isDuration: isDuration))"
    case .below(let bound): "less than \(show(bound, isDuration: isDuration))"
    case .atMost(let bound): "at most \(show(bound, isDuration: isDuration))"
    default: "another value"
    }
  }

  private func show(_ value: Double, isDuration: Bool) -> String {
    let shown = isDuration ? value / 1_000_000_000 : value
    let text = Int64(exactly: shown).map(String.init) ?? "\(shown)"
    return isDuration ? text + "s" : text
  }
}

extension ConfigTree.Node {
  /// Whether a message can be found below.
  fileprivate var hasStructure: Bool { kind == .message || kind == .list || kind == .map }
}
