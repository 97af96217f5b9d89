import Engine
import Routing
import Telemetry

/// What a filter of access logs asks of a request or a connection, beside what formats ask.
protocol LoggedExchange: LogSource {
  /// 0 where no response was sent.
  var status: Int { get }
  /// How long it lasted so far.
  var milliseconds: UInt64 { get }
  /// Of a request the same at every question, so that two filters with one share agree.
  var random: UInt64 { get }
  /// Of the answer; 2, unknown, where it has none.
  var grpcStatus: Int { get }
  var isHealthCheck: Bool { get }

  /// Whether the request's head has the field.
  func matches(_ matcher: Ref<HeaderMatcher>) -> Bool
  /// What a filter of requests has noted under this name.
  func metadata(_ space: Bytes, _ key: Bytes) -> MetadataValue?
}

/// Which requests or connections an access log tells of.
indirect enum AccessLogFilter {
  enum Comparison {
    case equal
    case atLeast
    case atMost
    case different

    func holds(_ a: UInt64, _ b: UInt64) -> Bool {
      switch self {
      case .equal: a == b
      case .atLeast: a >= b
      case .atMost: a <= b
      case .different: a != b
      }
    }
  }

  case status(Comparison, UInt64)
  case duration(Comparison, UInt64)
  case share(RuntimeFraction)
  case all(Table<Ref<AccessLogFilter>>)
  case any(Table<Ref<AccessLogFilter>>)
  case header(Ref<HeaderMatcher>)
  /// Empty: any flag at all.
  case flags(ResponseFlags)
  case grpcStatus(statuses: UInt32, exclude: Bool)
  case metadata(Ref<MetadataCondition>)
  case notHealthCheck

  func passes(_ exchange: some LoggedExchange) -> Bool {
    switch self {
    case .status(let comparison, let limit):
      return comparison.holds(UInt64(exchange.status), limit)
    case .duration(let comparison, let limit):
      return comparison.holds(exchange.milliseconds, limit)
    case .share(let fraction): return fraction.includes(exchange.random)
    case .all(let filters):
      for index in 0..<filters.count where !filters[index].value.passes(exchange) { return false }
      return true
    case .any(let filters):
      for index in 0..<filters.count where filters[index].value.passes(exchange) { return true }
      return false
    case .header(let matcher): return exchange.matches(matcher)
    case .flags(let wanted):
      let flags = exchange.responseFlags
      return wanted.isEmpty ? !flags.isEmpty : !flags.isDisjoint(with: wanted)
    case .grpcStatus(let statuses, let exclude):
      let status = exchange.grpcStatus
      return (status < 32 && statuses & (1 << UInt32(status)) != 0) != exclude
    case .metadata(let condition): return condition.value.holds(exchange)
    case .notHealthCheck: return !exchange.isHealthCheck
    }
  }
}

/// A compiled `metadata_filter`. Filters note values under two names, so that nothing lies deeper.
struct MetadataCondition {
  let space: Bytes
  /// nil: it lies deeper.
  let key: Bytes?
  let value: ValueMatcher
  let holdsWithoutValue: Bool

  func holds(_ exchange: some LoggedExchange) -> Bool {
    guard let key, let found = exchange.metadata(space, key) else { return holdsWithoutValue }
    return value.matches(found)
  }
}
