/// An expression that chooses what is logged, in the Common Expression Language as Envoy reads it: enough
/// of it to say whether Envoy would take it, and what a proxy that reads none can do instead.
package indirect enum LogExpression: Equatable, Sendable {
  case number(Int64)
  /// A name, or several with dots between them.
  case name([String])
  case text(String)
  case binary(String, LogExpression, LogExpression)
  /// A field of what is no name.
  case field(LogExpression)
  /// A function, or a method of what comes first, with its arguments.
  case call(String, isMethod: Bool, [LogExpression])
  /// Anything else, with what it consists of.
  case other([LogExpression])

  /// Why Envoy would not take an expression.
  package struct Mistake: Error, Equatable {
    package let message: String
  }

  /// Reads an expression.
  package init(_ text: String) throws(Mistake) {
    guard text.utf8.count <= Self.longest else {
      throw Mistake(message: "an expression has \(Self.longest) bytes at most")
    }
    var parser = LogExpressionParser(try LogExpressionToken.all(of: text))
    self = try parser.whole()
    guard depth <= Self.deepest else {
      throw Mistake(message: "Envoy reads expressions \(Self.deepest) deep at most")
    }
    try check()
  }

  /// Envoy has no bound; people do not write longer ones.
  package static let longest = 4096

  /// Regular expressions in it, which are refused with the whole where they are none.
  package var patterns: [String] {
    if case .call("matches", _, let parts) = self, case .text(let pattern)? = parts.last {
      return [pattern]
    }
    return parts.flatMap(\.patterns)
  }

  private var parts: [LogExpression] {
    switch self {
    case .number, .name, .text: []
    case .binary(_, let left, let right): [left, right]
    case .field(let owner): [owner]
    case .call(_, _, let parts), .other(let parts): parts
    }
  }

  // MARK: What Envoy knows

  static let deepest = 32

  /// Of the tree that Envoy makes of it.
  private var depth: Int {
    switch self {
    case .number, .text: return 1
    case .name(let path): return path.count
    case .binary(let symbol, let left, let right) where ["&&", "||"].contains(symbol):
      // A chain of these becomes a tree that is as flat as can be.
      let all = left.operands(of: symbol) + right.operands(of: symbol)
      let levels = Int.bitWidth - (all.count - 1).leadingZeroBitCount
      return levels + (all.map(\.depth).max() ?? 0)
    default: return 1 + (parts.map(\.depth).max() ?? 0)
    }
  }

  /// The parts of a chain of one operator, in their order.
  func operands(of symbol: String) -> [LogExpression] {
    guard case .binary(symbol, let left, let right) = self else { return [self] }
    return left.operands(of: symbol) + right.operands(of: symbol)
  }

  /// Functions, with how many arguments; seen with Envoy 1.40.
  private static let functions: [String: Int] = [
    "size": 1, "int": 1, "uint": 1, "double": 1, "bool": 1, "bytes": 1, "dyn": 1, "type": 1,
    "duration": 1, "timestamp": 1, "contains": 2, "startsWith": 2, "endsWith": 2, "matches": 2,
  ]
  private static let methods: [String: ClosedRange<Int>] = [
    "size": 0...0, "contains": 1...1, "startsWith": 1...1, "endsWith": 1...1, "matches": 1...1,
    "getDate": 0...1, "getDayOfMonth": 0...1, "getDayOfWeek": 0...1, "getDayOfYear": 0...1,
    "getFullYear": 0...1, "getHours": 0...1, "getMilliseconds": 0...1, "getMinutes": 0...1,
    "getMonth": 0...1, "getSeconds": 0...1,
  ]
  private static let extractors = ["extract": 3, "capture": 2, "captureN": 2]
  private static let loops: Set<String> = ["all", "exists", "exists_one", "map", "filter"]

  private func check() throws(Mistake) {
    if case .call(let name, let isMethod, let parts) = self {
      if isMethod {
        try Self.check(method: name, parts)
      } else if name == "has" {
        guard parts.count == 1, parts[0].isField else {
          throw Mistake(message: "'has' takes a field: has(request.headers), or 'x' in …")
        }
      } else {
        guard let count = Self.functions[name] else {
          throw Mistake(message: "Envoy has no function '\(name)'")
        }
        guard count == parts.count else {
          throw Mistake(message: "'\(name)' takes \(count) argument(s)")
        }
      }
    }
    for part in parts { try part.check() }
  }

  private static func check(method name: String, _ parts: [LogExpression]) throws(Mistake) {
    if loops.contains(name) {
      throw Mistake(message: "Envoy evaluates no loops: '\(name)' is one")
    }
    let extracted = parts.first == .name(["re"]) ? extractors[name] : nil
    guard let counts = methods[name] ?? extracted.map({ $0...$0 }) else {
      throw Mistake(message: "Envoy has no method '\(name)'")
    }
    guard counts.contains(parts.count - 1) else {
      throw Mistake(message: "'\(name)' takes \(counts.upperBound) argument(s)")
    }
  }

  fileprivate var isName: Bool {
    if case .name = self { return true }
    return false
  }

  private var isField: Bool {
    switch self {
    case .name(let path): path.count > 1
    case .field: true
    default: false
    }
  }
}

/// Puts tokens together, by the grammar of the language's specification.
struct LogExpressionParser {
  typealias Mistake = LogExpression.Mistake

  private let tokens: [LogExpressionToken]
  private var at = 0
  private var depth = 0

  init(_ tokens: [LogExpressionToken]) { self.tokens = tokens }

  /// Everything there is, as one expression.
  mutating func whole() throws(Mistake) -> LogExpression {
    guard !tokens.isEmpty else { throw Mistake(message: "an expression is not empty") }
    let found = try expression()
    guard at == tokens.count else { throw unexpected() }
    return found
  }

  private func unexpected() -> Mistake {
    guard at < tokens.count else { return Mistake(message: "the expression ends too early") }
    return Mistake(message: "'\(tokens[at].text)' is not expected here")
  }

  private func sees(_ symbol: String) -> Bool {
    at < tokens.count && tokens[at].kind == .symbol && tokens[at].text == symbol
  }

  private mutating func take(_ symbol: String) -> Bool {
    guard sees(symbol) else { return false }
    at += 1
    return true
  }

  private mutating func expect(_ symbol: String) throws(Mistake) {
    guard take(symbol) else { throw unexpected() }
  }

  private mutating func expression() throws(Mistake) -> LogExpression {
    depth += 1
    defer { depth -= 1 }
    // The outermost one counts for nothing.
    guard depth <= LogExpression.deepest + 1 else {
      throw Mistake(message: "Envoy reads expressions \(LogExpression.deepest) deep at most")
    }
    let condition = try binary(0)
    guard take("?") else { return condition }
    let first = try binary(0)
    try expect(":")
    return .other([condition, first, try expression()])
  }

  /// The operators of each rank, those that bind least first.
  private static let ranks: [Set<String>] = [
    ["||"], ["&&"], ["<", "<=", ">", ">=", "==", "!=", "in"], ["+", "-"], ["*", "/", "%"],
  ]

  private mutating func binary(_ rank: Int) throws(Mistake) -> LogExpression {
    guard rank < Self.ranks.count else { return try unary() }
    var found = try binary(rank + 1)
    while at < tokens.count, tokens[at].kind == .symbol,
      Self.ranks[rank].contains(tokens[at].text)
    {
      let symbol = tokens[at].text
      at += 1
      found = .binary(symbol, found, try binary(rank + 1))
    }
    return found
  }

  private mutating func unary() throws(Mistake) -> LogExpression {
    for symbol in ["!", "-"] where sees(symbol) {
      while take(symbol) {}
      return .other([try member()])
    }
    return try member()
  }

  private static let literals: Set<String> = ["true", "false", "null"]

  private mutating func member() throws(Mistake) -> LogExpression {
    var found = try primary()
    while true {
      if take(".") {
        guard at < tokens.count, tokens[at].kind == .name,
          !Self.literals.contains(tokens[at].text)
        else { throw unexpected() }
        let name = tokens[at].text
        at += 1
        if take("(") {
          found = .call(name, isMethod: true, [found] + (try list(until: ")")))
        } else if case .name(let path) = found {
          found = .name(path + [name])
        } else {
          found = .field(found)
        }
      } else if take("[") {
        found = .other([found, try expression()])
        try expect("]")
      } else if found.isName, sees("{") {
        throw Mistake(message: "Envoy makes no messages: '{' is not expected here")
      } else {
        return found
      }
    }
  }

  private mutating func primary() throws(Mistake) -> LogExpression {
    guard at < tokens.count else { throw unexpected() }
    let token = tokens[at]
    switch token.kind {
    case .number:
      at += 1
      return Int64(token.text).map { .number($0) } ?? .other([])
    case .text:
      at += 1
      return .text(token.text)
    case .name:
      at += 1
      if Self.literals.contains(token.text) { return .other([]) }
      guard !LogExpressionToken.reserved.contains(token.text) else {
        throw Mistake(message: "'\(token.text)' is a reserved word")
      }
      guard take("(") else { return .name([token.text]) }
      return .call(token.text, isMethod: false, try list(until: ")"))
    case .symbol: break
    }
    if take("(") {
      let found = try expression()
      try expect(")")
      return found
    }
    if take("[") { return .other(try list(until: "]")) }
    if take("{") { return .other(try entries()) }
    // A name of the outermost scope.
    if take("."), at < tokens.count, tokens[at].kind == .name { return try primary() }
    throw unexpected()
  }

  private mutating func list(until end: String) throws(Mistake) -> [LogExpression] {
    var found: [LogExpression] = []
    while !take(end) {
      found.append(try expression())
      if take(",") {
        // Only a list may end with a comma.
        if end == ")", sees(end) { throw unexpected() }
        continue
      }
      guard sees(end) else { throw unexpected() }
    }
    return found
  }

  private mutating func entries() throws(Mistake) -> [LogExpression] {
    var found: [LogExpression] = []
    while !take("}") {
      found.append(try expression())
      try expect(":")
      found.append(try expression())
      if take(",") { continue }
      guard sees("}") else { throw unexpected() }
    }
    return found
  }
}
