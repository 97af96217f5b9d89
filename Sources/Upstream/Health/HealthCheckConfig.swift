import Engine

/// How a cluster's hosts are checked. Times are in milliseconds.
package struct HealthCheckConfig: BitwiseCopyable {
  /// What is asked, and what has to come back.
  package enum Question: BitwiseCopyable {
    case http(HTTPHealthCheck)
    case tcp(TCPHealthCheck)
    case grpc(GRPCHealthCheck)
  }

  package let question: Question
  package let timeout: UInt64
  package let intervals: Intervals
  package let thresholds: Thresholds
  package let reusesConnection: Bool
  /// What is asked for by ALPN (RFC 7301 §3.1), each name behind its length.
  package var protocols: Bytes

  /// - Parameter names: of 1 to 255 bytes.
  package static func protocolList(_ names: [String]) -> Bytes {
    .configured(names.flatMap { [UInt8(truncatingIfNeeded: $0.utf8.count)] + $0.utf8 })
  }

  /// How long it is until the next check.
  package struct Intervals: BitwiseCopyable {
    package let ordinary: UInt64
    /// After a failure.
    let unhealthy: UInt64
    /// After the first results that differ from what the host is known as.
    let healthyEdge: UInt64
    let unhealthyEdge: UInt64
    /// While no request has ever been sent to the cluster.
    let noTraffic: UInt64
    let noTrafficHealthy: UInt64
    /// At most so much more, by chance: before the first check, and before each.
    package let initialJitter: UInt64
    let jitter: UInt64
    let jitterPercent: UInt64
  }

  /// How many results in a row change a host's health.
  package struct Thresholds: BitwiseCopyable {
    package let unhealthy: UInt32
    package let healthy: UInt32

    package init(unhealthy: UInt32, healthy: UInt32) {
      self.unhealthy = unhealthy
      self.healthy = healthy
    }
  }
}

/// A request, and the statuses that are good.
package struct HTTPHealthCheck: BitwiseCopyable {
  package let isHTTP2: Bool
  package let method: Bytes
  package let path: Bytes
  /// Empty: the endpoint's name for health checks, or the cluster's.
  package let host: Bytes
  /// Fields as HTTP/1.1 writes them, the user agent among them.
  package let fields: Bytes
  package let expected: Table<StatusRange>
  /// Failures that count towards the threshold; others make a host unhealthy at once.
  package let retriable: Table<StatusRange>
}

/// Bytes to send, and those that have to come back in this order.
package struct TCPHealthCheck: BitwiseCopyable {
  package let send: Bytes
  package let receive: Table<Bytes>
}

/// `grpc.health.v1.Health/Check` for a service; empty asks for the server as a whole.
package struct GRPCHealthCheck: BitwiseCopyable {
  package let service: Bytes
  /// Empty: the endpoint's name for health checks, or the cluster's.
  package let authority: Bytes
}

/// Statuses from `first` up to but not including `end`.
package struct StatusRange: BitwiseCopyable {
  let first: Int
  let end: Int
}

extension Table where Element == StatusRange {
  package func contains(_ status: Int) -> Bool {
    for index in 0..<count where status >= self[index].first && status < self[index].end {
      return true
    }
    return false
  }
}
