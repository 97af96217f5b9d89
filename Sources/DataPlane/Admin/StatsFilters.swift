import AdminHTTP
import Routing
import Telemetry

/// The parameters of `/stats` that choose among statistics.
enum StatsFilters {
  /// What is wrong with them, or nil.
  static func apply(_ request: AdminRequest, to query: inout StatsQuery) -> String? {
    do throws(Regex.Refusal) {
      if let search = try request.search("filter") {
        // With `invert_filter`, the names that do not match.
        let wanted = request.parameter("invert_filter") == nil
        query.filter = { search.isFound(in: $0) == wanted }
      }
    } catch {
      return "Invalid re2 regex: \(error.message)\n"
    }
    if let text = request.parameter("histogram_buckets") {
      guard let known = StatsQuery.Histograms(rawValue: text) else {
        let names = StatsQuery.Histograms.allCases.map(\.rawValue).joined(separator: "|")
        return "usage: /stats?histogram_buckets=(\(names))\n"
      }
      query.histograms = known
    }
    query.showsTexts = request.parameter("text_readouts") != nil
    switch request.parameter("type") {
    case nil, "", "All": break
    case "Counters": query.type = .counter
    case "Gauges": query.type = .gauge
    case "Histograms": query.type = .histogram
    case "TextReadouts": query.type = .textReadout
    case let other?: return "invalid &type= param: '\(other)'\n"
    }
    return nil
  }
}

extension AdminRequest {
  /// The expression that a parameter gives; nil when it is absent or empty.
  func search(_ name: String) throws(Regex.Refusal) -> RegexQuery? {
    guard let pattern = parameter(name), !pattern.isEmpty else { return nil }
    return try RegexQuery(pattern)
  }
}
