import Engine
import HTTPModel
import ResourceModel
import Resources

/// A compiled `envoy.config.route.v3.HeaderMatcher`.
///
/// A field that occurs several times matches when one of its values does: Envoy since 1.37, which
/// before joined them with commas.
package struct HeaderMatcher: BitwiseCopyable {
  private enum Condition: BitwiseCopyable {
    case present(Bool)
    case string(StringMatcher)
    /// From `start` up to but not including `end`.
    case range(start: Int64, end: Int64)
  }

  private let name: HeaderName
  private let condition: Condition
  private let isInverted: Bool
  private let treatsMissingAsEmpty: Bool

  /// Compiles `message`; nil, and a diagnostic, when that is not possible.
  package init?(
    _ message: Envoy_Config_Route_V3_HeaderMatcher, at path: ConfigPath, _ diagnostics: Diagnostics
  ) {
    name = .ofRequest(message.name)
    isInverted = message.invertMatch
    treatsMissingAsEmpty = message.treatMissingHeaderAsEmpty
    switch message.headerMatchSpecifier {
    case .exactMatch(let text): condition = .string(.exactly(text))
    case .prefixMatch(let text): condition = .string(.prefix(text))
    case .suffixMatch(let text): condition = .string(.suffix(text))
    case .containsMatch(let text): condition = .string(.contains(text))
    case .safeRegexMatch(let message):
      let regex = Regex(message, at: path.field("safe_regex_match"), diagnostics)
      guard let regex else { return nil }
      condition = .string(.matching(regex))
    case .stringMatch(let message):
      let matcher = StringMatcher(message, at: path.field("string_match"), diagnostics)
      guard let matcher else { return nil }
      condition = .string(matcher)
    case .rangeMatch(let range): condition = .range(start: range.start, end: range.end)
    case .presentMatch(let present): condition = .present(present)
    case nil: condition = .present(true)
    }
  }

  /// Whether the field of `headers` fits.
  package func matches(_ headers: borrowing HeaderMap) -> Bool {
    guard let first = headers.find(name.text, id: name.id) else { return matchesMissing }
    if case .present(let wanted) = condition { return wanted != isInverted }
    var next: Int? = first
    while let index = next {
      if holds(headers.value(index)) { return !isInverted }
      next = headers.find(name.text, id: name.id, from: index &+ 1)
    }
    return isInverted
  }

  /// A missing field fits no value and no inverted value either, unless it counts as empty.
  private var matchesMissing: Bool {
    if case .present(let wanted) = condition {
      return (treatsMissingAsEmpty == wanted) != isInverted
    }
    return treatsMissingAsEmpty && holds(.empty) != isInverted
  }

  private func holds(_ value: Bytes) -> Bool {
    switch condition {
    case .present(let wanted): return wanted
    case .string(let matcher): return matcher.matches(value)
    case .range(let start, let end):
      guard let number = value.signedDecimal else { return false }
      return number >= start && number < end
    }
  }
}

/// A list of field matchers, as routes, filters and retry policies have them.
package struct HeaderMatchers: BitwiseCopyable {
  /// How many of the list must match.
  package enum Quantifier: BitwiseCopyable {
    /// Every one; an empty list matches everything.
    case all
    /// One; an empty list matches nothing.
    case any
  }

  private let matchers: Table<HeaderMatcher>
  private let quantifier: Quantifier

  /// Compiles a list. Mistakes go to `diagnostics`; what they concern is left out.
  package init(
    _ messages: [Envoy_Config_Route_V3_HeaderMatcher], _ quantifier: Quantifier = .all,
    at path: ConfigPath, _ diagnostics: Diagnostics
  ) {
    matchers = Table.configured(
      messages.enumerated().compactMap { index, message in
        HeaderMatcher(message, at: path.index(index), diagnostics)
      })
    self.quantifier = quantifier
  }

  package var isEmpty: Bool { matchers.isEmpty }

  /// Whether `headers` fit.
  package func matches(_ headers: borrowing HeaderMap) -> Bool {
    let decisive = quantifier == .any
    var index = 0
    while index < matchers.count {
      if matchers[index].matches(headers) == decisive { return decisive }
      index &+= 1
    }
    return !decisive
  }
}

extension Bytes {
  /// A decimal number with an optional sign and blanks around it, or nil when there is anything
  /// else or it does not fit.
  package var signedDecimal: Int64? {
    let text = trimmed
    guard text.count > 0 else { return nil }
    let isNegative = text[0] == UInt8(ascii: "-")
    let digits = isNegative || text[0] == UInt8(ascii: "+") ? text.dropFirst(1) : text
    guard let magnitude = digits.unsigned else { return nil }
    if isNegative {
      return magnitude <= UInt64(Int64.max) + 1 ? Int64(truncatingIfNeeded: 0 &- magnitude) : nil
    }
    return Int64(exactly: magnitude)
  }

  /// As `signedDecimal`, for numbers that are not negative.
  package var unsignedDecimal: UInt64? {
    let text = trimmed
    guard text.count > 0 else { return nil }
    return text[0] == UInt8(ascii: "+") ? text.dropFirst(1).unsigned : text.unsigned
  }

  private var unsigned: UInt64? {
    guard count > 0 else { return nil }
    var value: UInt64 = 0
    var index = 0
    while index < count {
      guard ASCII.isDigit(self[index]) else { return nil }
      let (product, tooLarge) = value.multipliedReportingOverflow(by: 10)
      let (sum, overflows) = product.addingReportingOverflow(UInt64(self[index] &- 48))
      guard !tooLarge, !overflows else { return nil }
      value = sum
      index &+= 1
    }
    return value
  }
}
