import Engine
import ResourceModel
import Resources

/// A compiled `envoy.config.route.v3.QueryParameterMatcher`.
///
/// Names and values are compared as they were sent, without percent-decoding; of several
/// parameters with one name the first counts.
package struct QueryParameterMatcher: BitwiseCopyable {
  private enum Condition: BitwiseCopyable {
    case present(Bool)
    case string(StringMatcher)
  }

  private let name: Bytes
  private let condition: Condition

  /// Compiles `message`; nil, and a diagnostic, when that is not possible.
  package init?(
    _ message: Envoy_Config_Route_V3_QueryParameterMatcher, at path: ConfigPath,
    _ diagnostics: Diagnostics
  ) {
    name = .configured(message.name)
    switch message.queryParameterMatchSpecifier {
    case .presentMatch(let present): condition = .present(present)
    case .stringMatch(let message):
      let matcher = StringMatcher(message, at: path.field("string_match"), diagnostics)
      guard let matcher else { return nil }
      condition = .string(matcher)
    case nil: condition = .present(true)
    }
  }

  /// Whether a parameter of `query` fits, which is what follows the question mark.
  package func matches(_ query: Bytes) -> Bool {
    let value = Self.first(name, in: query)
    switch condition {
    case .present(let wanted): return (value != nil) == wanted
    case .string(let matcher):
      guard let value else { return false }
      return matcher.matches(value)
    }
  }

  private static func first(_ name: Bytes, in query: Bytes) -> Bytes? {
    var start = 0
    while start < query.count {
      let end = query.firstIndex(of: UInt8(ascii: "&"), from: start) ?? query.count
      let parameter = query[start, end]
      let equals = parameter.firstIndex(of: UInt8(ascii: "="))
      if parameter.prefix(equals ?? parameter.count) == name {
        return parameter.dropFirst(equals.map { $0 &+ 1 } ?? parameter.count)
      }
      start = end &+ 1
    }
    return nil
  }
}
