/// What the control plane counts of its clients, by Istio's names.
final class MeshMetrics {
  /// `pilot_xds_pushes`, by type.
  var pushes: [String: UInt64] = [:]
  /// `pilot_total_xds_rejects`, by type.
  var rejects: [String: UInt64] = [:]
  /// `pilot_xds_expired_nonce`, by type.
  var expiredNonces: [String: UInt64] = [:]
  /// `fairlead_secret_refusals`: Secrets that were asked for by who may not have them; by reason.
  var secretRefusals: [String: UInt64] = [:]
  /// `pilot_push_triggers`, by reason.
  var triggers: [String: UInt64] = [:]
  /// `pilot_proxy_convergence_time`: from a change to a client's acceptance of what followed from it.
  var convergence = Histogram(bounds: [0.05, 0.1, 0.2, 0.3, 0.5, 1, 3, 5, 10, 20, 30])
  /// `pilot_pushcontext_init_seconds`: how long it takes to make sense of a change.
  var contextInit = Histogram(bounds: [0.001, 0.01, 0.05, 0.1, 0.5, 1, 3, 5])
  /// `pilot_xds_push_time`: how long it takes to make and queue what one client is sent.
  var pushTime = Histogram(bounds: [0.001, 0.01, 0.1, 1, 3, 5, 10])

  /// Counts of observations up to bounds, in Prometheus' sense.
  struct Histogram {
    let bounds: [Double]
    private(set) var counts: [UInt64]
    private(set) var count: UInt64 = 0
    private(set) var sum = 0.0

    init(bounds: [Double]) {
      self.bounds = bounds
      counts = Array(repeating: 0, count: bounds.count)
    }

    mutating func observe(_ value: Double) {
      count += 1
      sum += value
      for index in bounds.indices where value <= bounds[index] { counts[index] += 1 }
    }
  }

  /// Prometheus' text.
  /// - Parameter gauges: what is counted elsewhere, by name.
  func text(gauges: [(name: String, labels: String, value: Double)]) -> String {
    var out = ""
    func counter(_ name: String, _ label: String, _ values: [String: UInt64]) {
      out += "# TYPE \(name) counter\n"
      for (key, value) in values.sorted(by: { $0.key < $1.key }) {
        out += "\(name){\(label)=\"\(key)\"} \(value)\n"
      }
    }
    counter("pilot_xds_pushes", "type", pushes)
    counter("pilot_total_xds_rejects", "type", rejects)
    counter("pilot_xds_expired_nonce", "type", expiredNonces)
    counter("pilot_push_triggers", "type", triggers)
    counter("fairlead_secret_refusals", "reason", secretRefusals)
    var lastName = ""
    for gauge in gauges {
      if gauge.name != lastName { out += "# TYPE \(gauge.name) gauge\n" }
      lastName = gauge.name
      out += "\(gauge.name)\(gauge.labels.isEmpty ? "" : "{\(gauge.labels)}") \(gauge.value)\n"
    }
    for (name, histogram) in [
      ("pilot_proxy_convergence_time", convergence),
      ("pilot_pushcontext_init_seconds", contextInit), ("pilot_xds_push_time", pushTime),
    ] {
      out += "# TYPE \(name) histogram\n"
      for (bound, count) in zip(histogram.bounds, histogram.counts) {
        out += "\(name)_bucket{le=\"\(bound)\"} \(count)\n"
      }
      out += "\(name)_bucket{le=\"+Inf\"} \(histogram.count)\n"
      out += "\(name)_sum \(histogram.sum)\n\(name)_count \(histogram.count)\n"
    }
    return out
  }
}
