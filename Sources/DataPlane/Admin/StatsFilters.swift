import Engine
import Routing
import Telemetry

/// The parameters of `/stats` that choose among statistics.
enum StatsFilters {
  /// What is wrong with them, or nil.
  static func apply(_ request: AdminRequest, to query: inout StatsQuery) -> String? {
    if let pattern = request.parameter("filter"), !pattern.isEmpty {
      do throws(Regex.Refusal) {
        // Envoy searches anywhere in the name.
        let regex = try Regex(".*(?:\(pattern)).*")
        query.filter = { name in Bytes.with(name) { regex.matches($0) } }
      } catch {
        return "Invalid regex: \(error.message)\n"
      }
    }
    if let text = request.parameter("histogram_buckets") {
      guard let known = StatsQuery.Histograms(rawValue: text) else {
        let names = StatsQuery.Histograms.allCases.map(\.rawValue).joined(separator: ", ")
        return "usage: /stats?histogram_buckets=(\(names))\n"
      }
      query.histograms = known
    }
    switch request.parameter("type")?.lowercased() {
    case nil, "", "all": break
    case "counters": query.type = .counter
    case "gauges": query.type = .gauge
    case "histograms": query.type = .histogram
    case "textreadouts": query.showsTexts = true
    case let other?: return "invalid &type=\(other)\n"
    }
    return nil
  }
}
