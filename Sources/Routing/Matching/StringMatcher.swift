import Engine
import ResourceModel
import Resources

/// A compiled `envoy.type.matcher.v3.StringMatcher`. Letters without case are ASCII's.
package struct StringMatcher: BitwiseCopyable {
  private enum Pattern: BitwiseCopyable {
    case exact(Bytes)
    case prefix(Bytes)
    case suffix(Bytes)
    case contains(Bytes)
    case regex(Regex)
  }

  private let pattern: Pattern
  private let ignoresCase: Bool

  private init(_ pattern: Pattern, ignoresCase: Bool = false) {
    self.pattern = pattern
    self.ignoresCase = ignoresCase
  }

  /// Matches exactly this text.
  package static func exactly(_ text: String) -> StringMatcher {
    StringMatcher(.exact(.configured(text)))
  }

  /// Matches what starts with this text.
  package static func prefix(_ text: String) -> StringMatcher {
    StringMatcher(.prefix(.configured(text)))
  }

  /// Matches what ends with this text.
  package static func suffix(_ text: String) -> StringMatcher {
    StringMatcher(.suffix(.configured(text)))
  }

  /// Matches what contains this text.
  package static func contains(_ text: String) -> StringMatcher {
    StringMatcher(.contains(.configured(text)))
  }

  /// Matches what the expression matches as a whole.
  package static func matching(_ regex: Regex) -> StringMatcher { StringMatcher(.regex(regex)) }

  /// Compiles `message`; nil, and a diagnostic, when that is not possible.
  package init?(
    _ message: Envoy_Type_Matcher_V3_StringMatcher, at path: ConfigPath, _ diagnostics: Diagnostics
  ) {
    ignoresCase = message.ignoreCase
    switch message.matchPattern {
    case .exact(let text): pattern = .exact(.configured(text))
    case .prefix(let text): pattern = .prefix(.configured(text))
    case .suffix(let text): pattern = .suffix(.configured(text))
    case .contains(let text): pattern = .contains(.configured(text))
    case .safeRegex(let expression):
      if message.ignoreCase {
        diagnostics.error(
          at: path.field("ignore_case"), "has no effect on 'safe_regex'; write (?i) in the regex")
      }
      guard let regex = Regex(expression, at: path.field("safe_regex"), diagnostics) else {
        return nil
      }
      pattern = .regex(regex)
    case nil: return nil
    }
  }

  /// Whether the whole text matches.
  package func matches(_ text: Bytes) -> Bool {
    switch pattern {
    case .exact(let wanted): ignoresCase ? text.equalsIgnoringCase(wanted) : text == wanted
    case .prefix(let wanted):
      ignoresCase ? text.hasPrefixIgnoringCase(wanted) : text.hasPrefix(wanted)
    case .suffix(let wanted):
      ignoresCase ? text.hasSuffixIgnoringCase(wanted) : text.hasSuffix(wanted)
    case .contains(let wanted):
      ignoresCase ? Self.contains(wanted, in: text) : text.range(of: wanted) != nil
    case .regex(let regex): regex.matches(text)
    }
  }

  private static func contains(_ wanted: Bytes, in text: Bytes) -> Bool {
    var start = 0
    while start &+ wanted.count <= text.count {
      if text[start, start &+ wanted.count].equalsIgnoringCase(wanted) { return true }
      start &+= 1
    }
    return false
  }
}

extension Regex {
  /// Compiles `message`; nil, and a diagnostic, when that is not possible.
  package init?(
    _ message: Envoy_Type_Matcher_V3_RegexMatcher, at path: ConfigPath, _ diagnostics: Diagnostics
  ) {
    do throws(Refusal) {
      try self.init(message.regex)
    } catch {
      diagnostics.error(at: path.field("regex"), "not a regular expression: \(error.message)")
      return nil
    }
  }
}

extension Regex.Substitution {
  /// Compiles `message`; nil, and a diagnostic, when that is not possible.
  package init?(
    _ message: Envoy_Type_Matcher_V3_RegexMatchAndSubstitute, at path: ConfigPath,
    _ diagnostics: Diagnostics
  ) {
    guard let regex = Regex(message.pattern, at: path.field("pattern"), diagnostics) else {
      return nil
    }
    do throws(Regex.Refusal) {
      self = try regex.substitution(message.substitution)
    } catch {
      diagnostics.error(
        at: path.field("substitution"), "does not fit the pattern: \(error.message)")
      return nil
    }
  }
}
