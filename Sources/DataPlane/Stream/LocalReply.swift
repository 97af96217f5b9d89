import Engine
import HTTPModel
import Telemetry

/// A response made by the proxy itself, as Envoy words it.
struct LocalReply {
  var status: Int
  var body: Bytes
  var details: Bytes
  var flags: ResponseFlags = []
  /// `x-envoy-overloaded: true` is added.
  var overloaded = false
  /// The downstream connection ends with this response.
  var closes = false

  init(
    _ status: Int, _ body: StaticString, _ details: StaticString, _ flags: ResponseFlags = [],
    overloaded: Bool = false, closes: Bool = false
  ) {
    self.status = status
    self.body = Bytes(body)
    self.details = Bytes(details)
    self.flags = flags
    self.overloaded = overloaded
    self.closes = closes
  }
}

/// How gRPC says what HTTP says with a status.
enum GRPCReply {
  /// Writes `message` percent-encoded, as `grpc-message` wants it; what does not fit is cut off.
  static func escape(_ message: Bytes, into block: Block) {
    var out = unsafe ByteWriter(base: block.base, capacity: block.capacity)
    var index = 0
    while index < message.count, out.count + 3 <= block.capacity {
      let byte = message[index]
      if byte >= 0x20, byte <= 0x7E, byte != UInt8(ascii: "%") {
        out.append(byte)
      } else {
        out.append(UInt8(ascii: "%"))
        out.append(hexDigit(byte >> 4))
        out.append(hexDigit(byte & 15))
      }
      index += 1
    }
    block.used = out.count
  }

  private static func hexDigit(_ nibble: UInt8) -> UInt8 {
    nibble < 10 ? 48 + nibble : 55 + nibble
  }
}

extension LocalReply {
  static var noRoute: LocalReply { LocalReply(404, "", "route_not_found", .noRouteFound) }
  static var overload: LocalReply { LocalReply(503, "envoy overloaded", "overload") }
  static var missingHost: LocalReply {
    LocalReply(400, "", "missing_host_header")
  }
  static var requestTooLarge: LocalReply {
    LocalReply(413, "Payload Too Large", "request_payload_too_large", closes: true)
  }
  static var responseTooLarge: LocalReply {
    LocalReply(500, "Internal Server Error", "response_payload_too_large")
  }
  static var headTimeout: LocalReply {
    LocalReply(408, "request header timeout", "request_header_timeout", closes: true)
  }
  static var requestTimeout: LocalReply {
    LocalReply(408, "request timeout", "request_overall_timeout", closes: true)
  }
  static var idleTimeoutBeforeRequestEnd: LocalReply {
    LocalReply(408, "stream timeout", "stream_idle_timeout", .streamIdleTimeout, closes: true)
  }
  static var idleTimeout: LocalReply {
    LocalReply(504, "stream timeout", "stream_idle_timeout", .streamIdleTimeout)
  }
  static var maxDuration: LocalReply {
    LocalReply(504, "downstream duration timeout", "max_duration_timeout")
  }
  static var upstreamMaxDuration: LocalReply {
    LocalReply(
      504, "upstream max stream duration reached", "upstream_max_stream_duration_reached",
      .upstreamMaxStreamDurationReached)
  }
  static var noHealthyUpstream: LocalReply {
    LocalReply(503, "no healthy upstream", "no_healthy_upstream", .noHealthyUpstream)
  }
  static func clusterNotFound(_ status: Int) -> LocalReply {
    LocalReply(status, "", "cluster_not_found", .noClusterFound)
  }
  static var overflow: LocalReply {
    LocalReply(
      503, "upstream connect error or disconnect/reset before headers. reset reason: overflow",
      "upstream_reset_before_response_started{overflow}", .upstreamOverflow, overloaded: true)
  }
  static var pathRejected: LocalReply { LocalReply(400, "", "path_normalization_failed") }
  static var upgradeRefused: LocalReply { LocalReply(403, "", "upgrade_failed", closes: true) }
  static var internalHeadTooLarge: LocalReply {
    LocalReply(500, "", "request_head_too_large_after_filters")
  }
}
