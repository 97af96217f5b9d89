import Engine
import HTTPModel
import Routing
import Telemetry

/// One configured access log: which requests it tells of, in what form, and where to.
struct AccessLog {
  let filter: AccessLogFilter?
  let format: LogFormat
  /// Which of the writer's logs it goes to.
  let target: LogTargetID
}

/// Which requests an access log tells of.
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
  case notHealthCheck
}

extension Ref where Value == RequestStream {
  /// Writes a line to every access log that wants one.
  func log() {
    guard value.isCounted else { return }
    let own = manager.value.accessLogs
    var index = 0
    while index < own.count {
      write(own[index])
      index += 1
    }
  }

  private func write(_ log: Ref<AccessLog>) {
    if let filter = log.value.filter, !passes(filter) { return }
    worker.value.logs.append(
      log.value.format, StreamLogSource(self), with: worker.value.renderer,
      to: log.value.target, now: loop.now / 1_000_000)
  }

  func passes(_ filter: AccessLogFilter) -> Bool {
    switch filter {
    case .status(let comparison, let limit):
      return comparison.holds(UInt64(value.loggedStatus), limit)
    case .duration(let comparison, let limit):
      return comparison.holds((loop.now &- value.startedAt) / 1_000_000, limit)
    case .share(let fraction): return fraction.includes(value.route.random >> 1)
    case .all(let filters):
      for index in 0..<filters.count where !passes(filters[index].value) { return false }
      return true
    case .any(let filters):
      for index in 0..<filters.count where passes(filters[index].value) { return true }
      return false
    case .header(let matcher): return matcher.value.matches(value.requestHead)
    case .flags(let wanted):
      return wanted.isEmpty ? !value.flags.isEmpty : !value.flags.isDisjoint(with: wanted)
    case .grpcStatus(let statuses, let exclude):
      let status =
        (value.responseTrailers[.grpcStatus] ?? value.responseHead[.grpcStatus])?.decimal ?? 2
      return (status < 32 && statuses & (1 << UInt32(status)) != 0) != exclude
    case .notHealthCheck: return !value.isHealthCheck
    }
  }
}
