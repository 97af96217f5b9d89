/// How parts of a dotted name become Prometheus labels: `cluster.c.upstream_rq_200` is
/// `cluster.upstream_rq` with `envoy.cluster_name=c` and `envoy.response_code=200`.
///
/// The default rules are Envoy's (all but DynamoDB's, whose filter does not exist here).
package struct TagRules {
  /// One label.
  package struct Tag: Equatable {
    package var name: String
    package var value: String

    package init(name: String, value: String) {
      self.name = name
      self.value = value
    }
  }

  /// Where a rule found its value, as offsets into the name's UTF-8.
  package struct Match {
    /// What leaves the name: the value and a dot beside it.
    package var removed: Range<Int>
    package var value: Range<Int>

    package init(removed: Range<Int>, value: Range<Int>) {
      self.removed = removed
      self.value = value
    }
  }

  /// A rule of `stats_tags` with a regular expression, compiled by the caller.
  package struct CustomRule {
    package var name: String
    package var find: (String) -> Match?

    package init(name: String, find: @escaping (String) -> Match?) {
      self.name = name
      self.find = find
    }
  }

  /// `use_all_default_tags`.
  package var usesDefaults = true
  /// Default rules named one by one in `stats_tags`, where `usesDefaults` is off.
  package var selectedDefaults: Set<String> = []
  package var custom: [CustomRule] = []
  /// `fixed_value` tags, set on every statistic.
  package var fixed: [Tag] = []

  package init() {}

  /// The names of all default rules, for those who check `stats_tags`.
  package static var defaultNames: [String] {
    var seen: Set<String> = []
    return DefaultTags.rules.map(\.name).filter { seen.insert($0).inserted }
  }

  /// Splits a name into what remains of it and its tags, in the order in which Envoy prints them.
  package func extract(from name: String) -> (name: String, tags: [Tag]) {
    let bytes = Array(name.utf8)
    let parts = TokenizedName(bytes: bytes)
    var tags: [Tag] = []
    var removed: [Range<Int>] = []
    func add(_ tag: String, _ match: Match) {
      // One label appears once; the first rule that finds it decides.
      guard !tags.contains(where: { $0.name == tag }) else { return }
      tags.append(Tag(name: tag, value: String(decoding: bytes[match.value], as: UTF8.self)))
      removed.append(match.removed)
    }
    func addDefaults(_ rules: ArraySlice<DefaultTags.Rule>) {
      for rule in rules where usesDefaults || selectedDefaults.contains(rule.name) {
        if let match = rule.find(parts) { add(rule.name, match) }
      }
    }
    addDefaults(DefaultTags.rules.prefix(DefaultTags.anywhereCount))
    tags += fixed
    for rule in custom {
      if let match = rule.find(name) { add(rule.name, match) }
    }
    addDefaults(DefaultTags.rules.dropFirst(DefaultTags.anywhereCount))
    guard !removed.isEmpty else { return (name, tags) }
    var gone = [Bool](repeating: false, count: bytes.count)
    for range in removed {
      for index in range { gone[index] = true }
    }
    let kept = zip(bytes, gone).compactMap { byte, isGone in isGone ? nil : byte }
    return (String(decoding: kept, as: UTF8.self), tags)
  }
}

/// A name and where its dots are.
struct TokenizedName {
  let bytes: [UInt8]
  /// The parts between dots.
  let tokens: [Range<Int>]

  init(bytes: [UInt8]) {
    self.bytes = bytes
    var tokens: [Range<Int>] = []
    var start = 0
    for (index, byte) in bytes.enumerated() where byte == UInt8(ascii: ".") {
      tokens.append(start..<index)
      start = index + 1
    }
    tokens.append(start..<bytes.count)
    self.tokens = tokens
  }

  func token(_ index: Int, is text: StaticString) -> Bool {
    tokens.indices.contains(index) && bytes[tokens[index]].elementsEqual(text.bytes)
  }

  /// Takes a token out with the dot after it, or, at the end, with the dot before it.
  func match(token index: Int) -> TagRules.Match? {
    guard tokens.indices.contains(index), !tokens[index].isEmpty else { return nil }
    let value = tokens[index]
    if index + 1 < tokens.count {
      return TagRules.Match(removed: value.lowerBound..<value.upperBound + 1, value: value)
    }
    guard index > 0 else { return nil }
    return TagRules.Match(removed: value.lowerBound - 1..<value.upperBound, value: value)
  }
}

extension StaticString {
  var bytes: [UInt8] {
    withUTF8Buffer { unsafe Array($0) }
  }
}
