/// What one histogram shows: everything so far, and the last interval.
struct HistogramReading {
  var name: String
  var total: HistogramSnapshot
  var interval: HistogramSnapshot
  var bounds: [Double]
}

/// A histogram as text and as JSON, in each of Envoy's ways to show one.
struct HistogramWriter {
  /// What Envoy computes, in percent.
  static let percentiles: [Double] = [0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100]

  let mode: StatsQuery.Histograms

  // MARK: Text

  func appendText(_ reading: HistogramReading, to output: inout [UInt8]) {
    output.append(reading.name)
    guard reading.total.count > 0 else { return output.append(": No recorded values\n") }
    switch mode {
    case .summary: output.append(": " + summary(reading) + "\n")
    case .cumulative, .disjoint:
      let buckets = counts(reading).map { bound, interval, total in
        "B\(NumberText.general(bound))(\(interval),\(total))"
      }
      output.append(": " + buckets.joined(separator: " ") + "\n")
    case .detailed:
      output.append(":\n  totals=" + Self.buckets(of: reading.total))
      output.append("\n  intervals=" + Self.buckets(of: reading.interval))
      output.append("\n  summary=" + summary(reading) + "\n")
    }
  }

  private func summary(_ reading: HistogramReading) -> String {
    Self.percentiles.map { percentile in
      let interval = reading.interval.quantile(percentile / 100).map(NumberText.shortest) ?? "nan"
      let total = reading.total.quantile(percentile / 100).map(NumberText.shortest) ?? "nan"
      return "P\(NumberText.shortest(percentile))(\(interval),\(total))"
    }.joined(separator: " ")
  }

  private static func buckets(of snapshot: HistogramSnapshot) -> String {
    snapshot.buckets.map { bucket in
      let (lower, width) = HistogramScale.bounds(ofIndex: bucket.index)
      return "\(NumberText.general(lower)),\(NumberText.general(width)):\(bucket.count)"
    }.joined(separator: ", ")
  }

  /// Bounds with the interval's and the total's count: of all values up to the bound, or, when
  /// disjoint, of those above the bound before it.
  private func counts(_ reading: HistogramReading) -> [(Double, UInt64, UInt64)] {
    var interval = reading.interval.cumulativeCounts(upTo: reading.bounds)
    var total = reading.total.cumulativeCounts(upTo: reading.bounds)
    if mode == .disjoint {
      interval = Self.differences(interval)
      total = Self.differences(total)
    }
    return reading.bounds.indices.map { (reading.bounds[$0], interval[$0], total[$0]) }
  }

  private static func differences(_ counts: [UInt64]) -> [UInt64] {
    zip(counts, [0] + counts).map { $0 &- $1 }
  }

  // MARK: JSON

  /// Opens the element of the list that holds all histograms.
  var jsonStart: String {
    let percentiles = Self.percentiles.map(NumberText.shortest).joined(separator: ",")
    return switch mode {
    case .summary:
      "{\"histograms\":{\"supported_quantiles\":[\(percentiles)],\"computed_quantiles\":["
    case .detailed: "{\"histograms\":{\"supported_percentiles\":[\(percentiles)],\"details\":["
    case .cumulative, .disjoint: "{\"histograms\":["
    }
  }

  /// Closes it.
  var jsonEnd: String {
    switch mode {
    case .summary, .detailed: "]}}"
    case .cumulative, .disjoint: "]}"
    }
  }

  func appendJSON(_ reading: HistogramReading, to output: inout [UInt8]) {
    output.append("{\"name\":")
    output.appendJSON(reading.name)
    switch mode {
    case .summary: output.append(",\"values\":[" + jsonQuantiles(reading) + "]}")
    case .cumulative, .disjoint:
      let buckets = counts(reading).map { bound, interval, total in
        let upper = NumberText.json(bound)
        return "{\"upper_bound\":\(upper),\"interval\":\(interval),\"cumulative\":\(total)}"
      }
      output.append(",\"buckets\":[" + buckets.joined(separator: ",") + "]}")
    case .detailed:
      output.append(",\"totals\":[" + Self.jsonBuckets(of: reading.total))
      output.append("],\"intervals\":[" + Self.jsonBuckets(of: reading.interval))
      output.append("],\"percentiles\":[" + jsonQuantiles(reading) + "]}")
    }
  }

  private func jsonQuantiles(_ reading: HistogramReading) -> String {
    Self.percentiles.map { percentile in
      let total = reading.total.quantile(percentile / 100).map(NumberText.json) ?? "null"
      let interval = reading.interval.quantile(percentile / 100).map(NumberText.json) ?? "null"
      return "{\"cumulative\":\(total),\"interval\":\(interval)}"
    }.joined(separator: ",")
  }

  private static func jsonBuckets(of snapshot: HistogramSnapshot) -> String {
    snapshot.buckets.map { bucket in
      let (lower, width) = HistogramScale.bounds(ofIndex: bucket.index)
      let bounds = "\"lower_bound\":\(NumberText.json(lower)),\"width\":\(NumberText.json(width))"
      return "{\(bounds),\"count\":\(bucket.count)}"
    }.joined(separator: ",")
  }
}
