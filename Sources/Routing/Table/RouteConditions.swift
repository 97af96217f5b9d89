import Engine
import HTTPModel
import ResourceModel
import Resources

/// A request, as routes look at it.
struct RouteQuery: BitwiseCopyable {
  /// Without the query, and without path parameters where those are ignored.
  let path: Bytes
  /// What follows the question mark.
  let query: Bytes
  let random: UInt64
}

/// Everything that a route asks of a request: a compiled `envoy.config.route.v3.RouteMatch`.
struct RouteConditions: BitwiseCopyable {
  let pattern: PathPattern
  let isCaseSensitive: Bool
  private let headers: HeaderMatchers
  private let parameters: Table<QueryParameterMatcher>
  private let fraction: RuntimeFraction?

  /// Compiles `message`; nil, and a diagnostic, when that is not possible.
  init?(
    _ message: Envoy_Config_Route_V3_RouteMatch, at path: ConfigPath, _ context: RouteCompiler
  ) {
    let diagnostics = context.diagnostics
    switch message.pathSpecifier {
    case .prefix(let text): pattern = .prefix(.configured(text))
    case .path(let text): pattern = .exact(.configured(text))
    case .pathSeparatedPrefix(let text): pattern = .separatedPrefix(.configured(text))
    case .safeRegex(let expression):
      guard let regex = Regex(expression, at: path.field("safe_regex"), diagnostics) else {
        return nil
      }
      pattern = .regex(regex)
    case nil: return nil
    }
    isCaseSensitive = message.hasCaseSensitive ? message.caseSensitive.value : true
    headers = HeaderMatchers(message.headers, at: path.field("headers"), diagnostics)
    let list = path.field("query_parameters")
    parameters = Table.configured(
      message.queryParameters.enumerated().compactMap { index, parameter in
        QueryParameterMatcher(parameter, at: list.index(index), diagnostics)
      })
    fraction =
      message.hasRuntimeFraction
      ? RuntimeFraction(message.runtimeFraction, runtime: context.options.runtime) : nil
  }

  /// Whether a path may fit: the index's question, for one route.
  @inline(__always)
  func mayMatch(_ path: Bytes) -> Bool {
    pattern.mayMatch(path, isCaseSensitive: isCaseSensitive)
  }

  /// Whether a request fits whose path the index found under this pattern.
  @inline(__always)
  func accept(_ query: RouteQuery, _ headers: borrowing HeaderMap) -> Bool {
    switch pattern {
    case .exact, .prefix: break
    case .separatedPrefix(let prefix):
      guard query.path.count == prefix.count || query.path[prefix.count] == UInt8(ascii: "/") else {
        return false
      }
    case .regex(let regex): guard regex.matches(query.path) else { return false }
    }
    if let fraction, !fraction.includes(query.random) { return false }
    guard self.headers.matches(headers) else { return false }
    var index = 0
    while index < parameters.count {
      guard parameters[index].matches(query.query) else { return false }
      index &+= 1
    }
    return true
  }
}
