import Engine
import ResourceModel
import Resources

/// A value in a stream's dynamic metadata. Filters note texts and flags.
package struct MetadataValue: BitwiseCopyable {
  /// The text; of a flag its name, `true` or `false`.
  package let text: Bytes
  package let isFlag: Bool

  package init(_ text: Bytes, isFlag: Bool = false) {
    self.text = text
    self.isFlag = isFlag
  }

  /// A flag.
  package init(flag: Bool) { self.init(Bytes(flag ? "true" : "false"), isFlag: true) }
}

/// A compiled `envoy.type.matcher.v3.ValueMatcher`: what one of its alternatives fits. Those that ask
/// for a number, a list or a null fit nothing, because no filter notes one.
package struct ValueMatcher: BitwiseCopyable {
  private enum Alternative: BitwiseCopyable {
    case text(StringMatcher)
    case flag(Bool)
    case anything
  }

  private let alternatives: Table<Alternative>

  /// Compiles `message`; mistakes go to `diagnostics`.
  package init(
    _ message: Envoy_Type_Matcher_V3_ValueMatcher, at path: ConfigPath, _ diagnostics: Diagnostics
  ) {
    alternatives = .configured(Self.alternatives(message, at: path, diagnostics))
  }

  private static func alternatives(
    _ message: Envoy_Type_Matcher_V3_ValueMatcher, at path: ConfigPath, _ diagnostics: Diagnostics
  ) -> [Alternative] {
    switch message.matchPattern {
    case .stringMatch(let text):
      StringMatcher(text, at: path.field("string_match"), diagnostics).map { [.text($0)] } ?? []
    case .boolMatch(let flag): [.flag(flag)]
    case .presentMatch(let wanted): wanted ? [.anything] : []
    case .orMatch(let list):
      list.valueMatchers.enumerated().flatMap { index, one in
        alternatives(
          one, at: path.field("or_match").field("value_matchers").index(index), diagnostics)
      }
    case .nullMatch, .doubleMatch, .listMatch, nil: []
    }
  }

  /// Whether a value that is there fits.
  package func matches(_ value: MetadataValue) -> Bool {
    var index = 0
    while index < alternatives.count {
      switch alternatives[index] {
      case .text(let matcher): if !value.isFlag, matcher.matches(value.text) { return true }
      case .flag(let wanted): if value.isFlag, (value.text == "true") == wanted { return true }
      case .anything: return true
      }
      index &+= 1
    }
    return false
  }
}

/// A compiled `envoy.type.matcher.v3.MetadataMatcher`. Filters note values under two names, so that
/// nothing lies deeper.
package struct MetadataMatcher: BitwiseCopyable {
  /// The filter's.
  package let space: Bytes
  /// nil: what it asks for lies deeper.
  package let key: Bytes?
  private let value: ValueMatcher
  private let isInverted: Bool

  /// Compiles `message`; mistakes go to `diagnostics`.
  package init(
    _ message: Envoy_Type_Matcher_V3_MetadataMatcher, at path: ConfigPath,
    _ diagnostics: Diagnostics
  ) {
    space = .configured(message.filter)
    key = message.path.count == 1 ? .configured(message.path[0].key) : nil
    value = ValueMatcher(message.value, at: path.field("value"), diagnostics)
    isInverted = message.invert
  }

  /// Whether what stands under its names fits.
  package func matches(_ found: MetadataValue?) -> Bool {
    (found.map { value.matches($0) } ?? false) != isInverted
  }
}
