import MeshMessages
import MeshModel
import Resources

extension ConfigPath {
  /// The path of a field of the message at this path.
  subscript(name: String) -> ConfigPath { field(name) }

  /// The path of an item of the list at this path.
  subscript(position: Int) -> ConfigPath { index(position) }
}

/// What many kinds of objects say alike: each function reports what is wrong at a place, and whoever reads
/// the report learns what would be right.
struct FieldCheck {
  let report: Diagnostics

  func error(_ path: ConfigPath, _ message: String) { report.error(at: path, message) }

  func warning(_ path: ConfigPath, _ message: String) { report.warning(at: path, message) }

  // MARK: Numbers

  func port(_ number: UInt32, _ path: ConfigPath) {
    if !(1...65_535).contains(number) { error(path, "a port is from 1 to 65535, not \(number)") }
  }

  func atLeastZero(_ number: Int32, _ path: ConfigPath) {
    if number < 0 { error(path, "0 or more is expected, not \(number)") }
  }

  func percent(_ number: Int32, _ path: ConfigPath) {
    if !(0...100).contains(number) { error(path, "a percentage is from 0 to 100, not \(number)") }
  }

  func percentage(_ value: Double, _ path: ConfigPath) {
    // Shares are told in millionths: a smaller one would be none.
    if value != 0, !(0.0001...100).contains(value) {
      error(path, "a percentage is 0, or from 0.0001 to 100, not \(value)")
    }
  }

  /// A millisecond at least: proxies measure in nothing smaller.
  func duration(_ duration: ProtobufDuration, _ path: ConfigPath, takesZero: Bool = false) {
    if takesZero, duration.seconds == 0, duration.nanos == 0 { return }
    let isPositive = duration.seconds >= 0 && duration.nanos >= 0
    if !isPositive || (duration.seconds == 0 && duration.nanos < 1_000_000) {
      error(path, "a time of 1ms or more is expected" + (takesZero ? ", or 0s for none" : ""))
    }
  }

  // MARK: Names

  func host(_ host: String, _ path: ConfigPath, takesPatterns: Bool = true) {
    let isGood =
      NameSyntax.isAddress(host)
      || (takesPatterns ? NameSyntax.isPattern(host) : NameSyntax.isDomain(host))
    guard !isGood else { return }
    let patterns = takesPatterns ? ", or '*.' and a name" : ""
    error(path, "'\(host)' is no host: write a name such as reviews or api.example.com" + patterns)
  }

  func header(_ name: String, _ path: ConfigPath) {
    if !NameSyntax.isHeader(name) { error(path, "'\(name)' is no name of a header") }
  }

  func namespace(_ name: String, _ path: ConfigPath) {
    if !NameSyntax.isLabel(name) { error(path, "'\(name)' is no name of a namespace") }
  }

  func labels(_ labels: [String: String], _ path: ConfigPath, of whose: String = "label") {
    for (key, value) in labels.sorted(by: { $0.key < $1.key }) {
      if key.isEmpty { error(path, "a \(whose) has a name before its ':'") }
      if key.contains("*") || value.contains("*") {
        error(path.key(key), "a \(whose) takes no '*': '\(key): \(value)' is compared as it is")
      } else if !isLabelValue(value) {
        error(
          path.key(key),
          "'\(value)' is no value of a label: letters, digits, '-', '_' and '.', at most 63")
      }
    }
  }

  /// The labels that say whom a rule is for.
  func selector(_ labels: [String: String]?, _ path: ConfigPath) {
    guard let labels else { return }
    if labels.isEmpty {
      warning(path, "a selector without labels selects every workload: remove it, or say which")
    }
    self.labels(labels, path, of: "selector's label")
  }

  private func isLabelValue(_ value: String) -> Bool {
    guard let first = value.utf8.first, let last = value.utf8.last else { return true }
    let inner = Set("-_.".utf8)
    return value.utf8.count <= 63 && !inner.contains(first) && !inner.contains(last)
      && value.utf8.allSatisfy { byte in
        inner.contains(byte) || NameSyntax.isLabel(String(UnicodeScalar(byte)))
      }
  }

  /// To whom a rule is shown.
  func exportTo(_ names: [String], of object: MeshObject, _ path: ConfigPath) {
    var seen: Set<String> = []
    for (index, name) in names.enumerated() {
      let place = path[index]
      if !["*", ".", "~"].contains(name) { namespace(name, place) }
      if !seen.insert(name == "." ? object.namespace : name).inserted {
        error(place, "'\(name)' is there already: remove one")
      }
    }
    guard names.count > 1 else { return }
    if names.contains("*") { error(path, "'*' is everybody: remove the others, or '*'") }
    if names.contains("~") { error(path, "'~' is nobody: remove the others, or '~'") }
  }

  // MARK: Texts

  func expression(_ pattern: String, _ path: ConfigPath) {
    if pattern.isEmpty {
      error(path, "an expression is not empty: remove the match, or say what it matches")
    } else if pattern.utf8.count > Expression.longest {
      error(
        path, "an expression has \(Expression.longest) bytes at most, not \(pattern.utf8.count)")
    } else if let mistake = Expression.mistake(in: pattern) {
      error(path, "RE2 does not take this expression: \(mistake)")
    }
  }

  /// A text that is compared: in whole, by its beginning, or by an expression.
  /// - Parameters:
  ///   - takesEmptyPrefix: paths may begin with nothing.
  ///   - takesPresence: nothing, an empty prefix and `regex: "*"` mean that it is there at all.
  func match(
    _ match: Istio_Networking_V1alpha3_StringMatch, _ path: ConfigPath,
    takesEmptyPrefix: Bool = false, takesPresence: Bool = false
  ) {
    switch match.matchType {
    case .regex(let pattern):
      if takesPresence, pattern == "*" { return }
      expression(pattern, path["regex"])
    case .prefix(let prefix):
      if prefix.isEmpty, !takesEmptyPrefix, !takesPresence {
        error(path["prefix"], "a prefix is not empty: everything begins with nothing")
      }
    case .exact: break
    case nil:
      if !takesPresence {
        error(
          path,
          "says nothing to compare with: write 'exact', 'prefix' or 'regex' under it, further in")
      }
    }
  }
}
