import Engine

// The names this file lists are the ones that some part of the proxy asks for, and the ones most
// requests bring; all others are found by their text.

/// A well-known field name, as a small number: finding one is a comparison of bytes, not of text.
@usableFromInline
package struct HeaderID: BitwiseCopyable, Equatable, Sendable {
  @usableFromInline package let rawValue: UInt8

  @inlinable
  package init(rawValue: UInt8) { self.rawValue = rawValue }

  /// Any name that is not listed here.
  @inlinable package static var other: HeaderID { HeaderID(rawValue: 0) }

  /// `:method`
  @inlinable package static var method: HeaderID { HeaderID(rawValue: 1) }
  /// `:path`
  @inlinable package static var path: HeaderID { HeaderID(rawValue: 2) }
  /// `:authority`
  @inlinable package static var authority: HeaderID { HeaderID(rawValue: 3) }
  /// `:scheme`
  @inlinable package static var scheme: HeaderID { HeaderID(rawValue: 4) }
  /// `:status`
  @inlinable package static var status: HeaderID { HeaderID(rawValue: 5) }
  /// `host`
  @inlinable package static var host: HeaderID { HeaderID(rawValue: 6) }
  /// `connection`
  @inlinable package static var connection: HeaderID { HeaderID(rawValue: 7) }
  /// `content-length`
  @inlinable package static var contentLength: HeaderID { HeaderID(rawValue: 8) }
  /// `transfer-encoding`
  @inlinable package static var transferEncoding: HeaderID { HeaderID(rawValue: 9) }
  /// `keep-alive`
  @inlinable package static var keepAlive: HeaderID { HeaderID(rawValue: 10) }
  /// `upgrade`
  @inlinable package static var upgrade: HeaderID { HeaderID(rawValue: 11) }
  /// `te`
  @inlinable package static var te: HeaderID { HeaderID(rawValue: 12) }
  /// `trailer`
  @inlinable package static var trailer: HeaderID { HeaderID(rawValue: 13) }
  /// `proxy-connection`
  @inlinable package static var proxyConnection: HeaderID { HeaderID(rawValue: 14) }
  /// `expect`
  @inlinable package static var expect: HeaderID { HeaderID(rawValue: 15) }
  /// `http2-settings`
  @inlinable package static var http2Settings: HeaderID { HeaderID(rawValue: 16) }
  /// `x-forwarded-for`
  @inlinable package static var xForwardedFor: HeaderID { HeaderID(rawValue: 17) }
  /// `x-forwarded-proto`
  @inlinable package static var xForwardedProto: HeaderID { HeaderID(rawValue: 18) }
  /// `x-forwarded-host`
  @inlinable package static var xForwardedHost: HeaderID { HeaderID(rawValue: 19) }
  /// `x-forwarded-port`
  @inlinable package static var xForwardedPort: HeaderID { HeaderID(rawValue: 20) }
  /// `x-request-id`
  @inlinable package static var xRequestID: HeaderID { HeaderID(rawValue: 21) }
  /// `server`
  @inlinable package static var server: HeaderID { HeaderID(rawValue: 22) }
  /// `date`
  @inlinable package static var date: HeaderID { HeaderID(rawValue: 23) }
  /// `via`
  @inlinable package static var via: HeaderID { HeaderID(rawValue: 24) }
  /// `user-agent`
  @inlinable package static var userAgent: HeaderID { HeaderID(rawValue: 25) }
  /// `cookie`
  @inlinable package static var cookie: HeaderID { HeaderID(rawValue: 26) }
  /// `content-type`
  @inlinable package static var contentType: HeaderID { HeaderID(rawValue: 27) }
  /// `location`
  @inlinable package static var location: HeaderID { HeaderID(rawValue: 28) }
  /// `grpc-status`
  @inlinable package static var grpcStatus: HeaderID { HeaderID(rawValue: 29) }
  /// `grpc-message`
  @inlinable package static var grpcMessage: HeaderID { HeaderID(rawValue: 30) }
  /// `grpc-timeout`
  @inlinable package static var grpcTimeout: HeaderID { HeaderID(rawValue: 31) }
  /// `x-forwarded-client-cert`
  @inlinable package static var xForwardedClientCert: HeaderID { HeaderID(rawValue: 32) }
  /// `retry-after`
  @inlinable package static var retryAfter: HeaderID { HeaderID(rawValue: 33) }
  /// `accept`
  @inlinable package static var accept: HeaderID { HeaderID(rawValue: 34) }
  /// `accept-encoding`
  @inlinable package static var acceptEncoding: HeaderID { HeaderID(rawValue: 35) }
  /// `accept-language`
  @inlinable package static var acceptLanguage: HeaderID { HeaderID(rawValue: 36) }
  /// `cache-control`
  @inlinable package static var cacheControl: HeaderID { HeaderID(rawValue: 37) }
  /// `referer`
  @inlinable package static var referer: HeaderID { HeaderID(rawValue: 38) }
  /// `origin`
  @inlinable package static var origin: HeaderID { HeaderID(rawValue: 39) }
  /// `authorization`
  @inlinable package static var authorization: HeaderID { HeaderID(rawValue: 40) }
  /// `x-envoy-max-retries`
  @inlinable package static var envoyMaxRetries: HeaderID { HeaderID(rawValue: 41) }
  /// `x-envoy-retry-on`
  @inlinable package static var envoyRetryOn: HeaderID { HeaderID(rawValue: 42) }
  /// `x-envoy-retry-grpc-on`
  @inlinable package static var envoyRetryGRPCOn: HeaderID { HeaderID(rawValue: 43) }
  /// `x-envoy-retriable-status-codes`
  @inlinable package static var envoyRetriableStatusCodes: HeaderID { HeaderID(rawValue: 44) }
  /// `x-envoy-retriable-header-names`
  @inlinable package static var envoyRetriableHeaderNames: HeaderID { HeaderID(rawValue: 45) }
  /// `x-envoy-upstream-rq-timeout-ms`
  @inlinable package static var envoyTimeout: HeaderID { HeaderID(rawValue: 46) }
  /// `x-envoy-upstream-rq-per-try-timeout-ms`
  @inlinable package static var envoyPerTryTimeout: HeaderID { HeaderID(rawValue: 47) }
  /// `x-envoy-upstream-rq-timeout-alt-response`
  @inlinable package static var envoyTimeoutAltResponse: HeaderID { HeaderID(rawValue: 48) }
  /// `x-envoy-hedge-on-per-try-timeout`
  @inlinable package static var envoyHedge: HeaderID { HeaderID(rawValue: 49) }
  /// `x-envoy-upstream-stream-duration-ms`
  @inlinable package static var envoyStreamDuration: HeaderID { HeaderID(rawValue: 50) }
  /// `x-envoy-expected-rq-timeout-ms`
  @inlinable package static var envoyExpectedTimeout: HeaderID { HeaderID(rawValue: 51) }
  /// `x-envoy-attempt-count`
  @inlinable package static var envoyAttemptCount: HeaderID { HeaderID(rawValue: 52) }
  /// `x-envoy-original-path`
  @inlinable package static var envoyOriginalPath: HeaderID { HeaderID(rawValue: 53) }
  /// `x-envoy-internal`
  @inlinable package static var envoyInternal: HeaderID { HeaderID(rawValue: 54) }
  /// `x-envoy-external-address`
  @inlinable package static var envoyExternalAddress: HeaderID { HeaderID(rawValue: 55) }
  /// `x-envoy-upstream-service-time`
  @inlinable package static var envoyServiceTime: HeaderID { HeaderID(rawValue: 56) }
  /// `x-envoy-overloaded`
  @inlinable package static var envoyOverloaded: HeaderID { HeaderID(rawValue: 57) }
  /// `x-envoy-ratelimited`
  @inlinable package static var envoyRateLimited: HeaderID { HeaderID(rawValue: 58) }
  /// `x-envoy-immediate-health-check-fail`
  @inlinable package static var envoyImmediateHealthCheckFail: HeaderID { HeaderID(rawValue: 59) }
  /// `x-envoy-upstream-alt-stat-name`
  @inlinable package static var envoyAltStatName: HeaderID { HeaderID(rawValue: 60) }
  /// `x-envoy-decorator-operation`
  @inlinable package static var envoyDecorator: HeaderID { HeaderID(rawValue: 61) }
  /// `x-envoy-force-trace`
  @inlinable package static var envoyForceTrace: HeaderID { HeaderID(rawValue: 62) }
  /// `x-envoy-downstream-service-node`
  @inlinable package static var envoyServiceNode: HeaderID { HeaderID(rawValue: 63) }
  /// `x-envoy-downstream-service-cluster`
  @inlinable package static var envoyServiceCluster: HeaderID { HeaderID(rawValue: 64) }
  /// `x-envoy-is-timeout-retry`
  @inlinable package static var envoyIsTimeoutRetry: HeaderID { HeaderID(rawValue: 65) }
  /// `x-envoy-degraded`
  @inlinable package static var envoyDegraded: HeaderID { HeaderID(rawValue: 66) }
  /// `x-envoy-upstream-canary`
  @inlinable package static var envoyCanary: HeaderID { HeaderID(rawValue: 67) }
  /// `x-envoy-upstream-healthchecked-cluster`
  @inlinable package static var envoyHealthCheckedCluster: HeaderID { HeaderID(rawValue: 68) }
  /// `x-envoy-original-dst-host`
  @inlinable package static var envoyOriginalDstHost: HeaderID { HeaderID(rawValue: 69) }
  /// `x-envoy-ip-tags`
  @inlinable package static var envoyIPTags: HeaderID { HeaderID(rawValue: 70) }
  /// `x-envoy-original-host`
  @inlinable package static var envoyOriginalHost: HeaderID { HeaderID(rawValue: 71) }
  /// `x-envoy-fault-abort-request`
  @inlinable package static var envoyFaultAbort: HeaderID { HeaderID(rawValue: 72) }
  /// `x-envoy-fault-delay-request`
  @inlinable package static var envoyFaultDelay: HeaderID { HeaderID(rawValue: 73) }

  /// `x-envoy-original-url`
  @inlinable package static var envoyOriginalURL: HeaderID { HeaderID(rawValue: 74) }

  /// Pseudo-header fields, as HTTP/2 names them: the request line and the status line.
  @inlinable package var isPseudo: Bool { rawValue >= 1 && rawValue <= 5 }

  /// How many ids there are, `other` among them.
  @usableFromInline package static let count = 75

  /// The name's text; empty for `other`.
  @inlinable @inline(__always)
  package var name: Bytes { Bytes(text) }

  // Inlined, so that the name of an id that is written down is known when compiling.
  @inlinable @inline(__always)
  var text: StaticString {
    switch rawValue {
    case 1: ":method"
    case 2: ":path"
    case 3: ":authority"
    case 4: ":scheme"
    case 5: ":status"
    case 6: "host"
    case 7: "connection"
    case 8: "content-length"
    case 9: "transfer-encoding"
    case 10: "keep-alive"
    case 11: "upgrade"
    case 12: "te"
    case 13: "trailer"
    case 14: "proxy-connection"
    case 15: "expect"
    case 16: "http2-settings"
    case 17: "x-forwarded-for"
    case 18: "x-forwarded-proto"
    case 19: "x-forwarded-host"
    case 20: "x-forwarded-port"
    case 21: "x-request-id"
    case 22: "server"
    case 23: "date"
    case 24: "via"
    case 25: "user-agent"
    case 26: "cookie"
    case 27: "content-type"
    case 28: "location"
    case 29: "grpc-status"
    case 30: "grpc-message"
    case 31: "grpc-timeout"
    case 32: "x-forwarded-client-cert"
    case 33: "retry-after"
    case 34: "accept"
    case 35: "accept-encoding"
    case 36: "accept-language"
    case 37: "cache-control"
    case 38: "referer"
    case 39: "origin"
    case 40: "authorization"
    case 41: "x-envoy-max-retries"
    case 42: "x-envoy-retry-on"
    case 43: "x-envoy-retry-grpc-on"
    case 44: "x-envoy-retriable-status-codes"
    case 45: "x-envoy-retriable-header-names"
    case 46: "x-envoy-upstream-rq-timeout-ms"
    case 47: "x-envoy-upstream-rq-per-try-timeout-ms"
    case 48: "x-envoy-upstream-rq-timeout-alt-response"
    case 49: "x-envoy-hedge-on-per-try-timeout"
    case 50: "x-envoy-upstream-stream-duration-ms"
    case 51: "x-envoy-expected-rq-timeout-ms"
    case 52: "x-envoy-attempt-count"
    case 53: "x-envoy-original-path"
    case 54: "x-envoy-internal"
    case 55: "x-envoy-external-address"
    case 56: "x-envoy-upstream-service-time"
    case 57: "x-envoy-overloaded"
    case 58: "x-envoy-ratelimited"
    case 59: "x-envoy-immediate-health-check-fail"
    case 60: "x-envoy-upstream-alt-stat-name"
    case 61: "x-envoy-decorator-operation"
    case 62: "x-envoy-force-trace"
    case 63: "x-envoy-downstream-service-node"
    case 64: "x-envoy-downstream-service-cluster"
    case 65: "x-envoy-is-timeout-retry"
    case 66: "x-envoy-degraded"
    case 67: "x-envoy-upstream-canary"
    case 68: "x-envoy-upstream-healthchecked-cluster"
    case 69: "x-envoy-original-dst-host"
    case 70: "x-envoy-ip-tags"
    case 71: "x-envoy-original-host"
    case 72: "x-envoy-fault-abort-request"
    case 73: "x-envoy-fault-delay-request"
    case 74: "x-envoy-original-url"
    default: ""
    }
  }

  /// The id of a lower-case name.
  package static func of(_ name: Bytes) -> HeaderID {
    switch name.count {
    case 2: return name.is(te)
    case 3: return name.is(via)
    case 4:
      switch name[0] {
      case UInt8(ascii: "h"): return name.is(host)
      case UInt8(ascii: "d"): return name.is(date)
      default: return other
      }
    case 5: return name.is(path)
    case 6:
      switch name[0] {
      case UInt8(ascii: "e"): return name.is(expect)
      case UInt8(ascii: "s"): return name.is(server)
      case UInt8(ascii: "c"): return name.is(cookie)
      case UInt8(ascii: "a"): return name.is(accept)
      case UInt8(ascii: "o"): return name.is(origin)
      default: return other
      }
    case 7:
      switch name[2] {
      case UInt8(ascii: "e"): return name.is(method)
      case UInt8(ascii: "c"): return name.is(scheme)
      case UInt8(ascii: "t"): return name.is(status)
      case UInt8(ascii: "g"): return name.is(upgrade)
      case UInt8(ascii: "a"): return name.is(trailer)
      case UInt8(ascii: "f"): return name.is(referer)
      default: return other
      }
    case 8: return name.is(location)
    case 10:
      switch name[0] {
      case UInt8(ascii: ":"): return name.is(authority)
      case UInt8(ascii: "c"): return name.is(connection)
      case UInt8(ascii: "k"): return name.is(keepAlive)
      case UInt8(ascii: "u"): return name.is(userAgent)
      default: return other
      }
    case 11:
      switch name[0] {
      case UInt8(ascii: "g"): return name.is(grpcStatus)
      case UInt8(ascii: "r"): return name.is(retryAfter)
      default: return other
      }
    case 12:
      switch name[5] {
      case UInt8(ascii: "u"): return name.is(xRequestID)
      case UInt8(ascii: "n"): return name.is(contentType)
      case UInt8(ascii: "m"): return name.is(grpcMessage)
      case UInt8(ascii: "t"): return name.is(grpcTimeout)
      default: return other
      }
    case 13:
      switch name[0] {
      case UInt8(ascii: "c"): return name.is(cacheControl)
      case UInt8(ascii: "a"): return name.is(authorization)
      default: return other
      }
    case 14:
      switch name[0] {
      case UInt8(ascii: "c"): return name.is(contentLength)
      case UInt8(ascii: "h"): return name.is(http2Settings)
      default: return other
      }
    case 15:
      switch name[7] {
      case UInt8(ascii: "r"): return name.is(xForwardedFor)
      case UInt8(ascii: "e"): return name.is(acceptEncoding)
      case UInt8(ascii: "l"): return name.is(acceptLanguage)
      case UInt8(ascii: "-"): return name.is(envoyIPTags)
      default: return other
      }
    case 16:
      switch name[12] {
      case UInt8(ascii: "t"): return name.is(proxyConnection)
      case UInt8(ascii: "h"): return name.is(xForwardedHost)
      case UInt8(ascii: "p"): return name.is(xForwardedPort)
      case UInt8(ascii: "y"): return name.is(envoyRetryOn)
      case UInt8(ascii: "r"): return name.is(envoyInternal)
      case UInt8(ascii: "a"): return name.is(envoyDegraded)
      default: return other
      }
    case 17:
      switch name[0] {
      case UInt8(ascii: "t"): return name.is(transferEncoding)
      case UInt8(ascii: "x"): return name.is(xForwardedProto)
      default: return other
      }
    case 18: return name.is(envoyOverloaded)
    case 19:
      switch name[8] {
      case UInt8(ascii: "m"): return name.is(envoyMaxRetries)
      case UInt8(ascii: "r"): return name.is(envoyRateLimited)
      case UInt8(ascii: "f"): return name.is(envoyForceTrace)
      default: return other
      }
    case 20: return name.is(envoyOriginalURL)
    case 21:
      switch name[17] {
      case UInt8(ascii: "c"): return name.is(envoyRetryGRPCOn)
      case UInt8(ascii: "o"): return name.is(envoyAttemptCount)
      case UInt8(ascii: "p"): return name.is(envoyOriginalPath)
      case UInt8(ascii: "h"): return name.is(envoyOriginalHost)
      default: return other
      }
    case 23:
      switch name[2] {
      case UInt8(ascii: "f"): return name.is(xForwardedClientCert)
      case UInt8(ascii: "e"): return name.is(envoyCanary)
      default: return other
      }
    case 24:
      switch name[8] {
      case UInt8(ascii: "e"): return name.is(envoyExternalAddress)
      case UInt8(ascii: "i"): return name.is(envoyIsTimeoutRetry)
      default: return other
      }
    case 25: return name.is(envoyOriginalDstHost)
    case 27:
      switch name[14] {
      case UInt8(ascii: "t"): return name.is(envoyDecorator)
      case UInt8(ascii: "a"): return name.is(envoyFaultAbort)
      case UInt8(ascii: "d"): return name.is(envoyFaultDelay)
      default: return other
      }
    case 29: return name.is(envoyServiceTime)
    case 30:
      switch name[18] {
      case UInt8(ascii: "s"): return name.is(envoyRetriableStatusCodes)
      case UInt8(ascii: "h"): return name.is(envoyRetriableHeaderNames)
      case UInt8(ascii: "q"):
        switch name[8] {
        case UInt8(ascii: "u"): return name.is(envoyTimeout)
        case UInt8(ascii: "e"): return name.is(envoyExpectedTimeout)
        default: return other
        }
      case UInt8(ascii: "l"): return name.is(envoyAltStatName)
      default: return other
      }
    case 31: return name.is(envoyServiceNode)
    case 32: return name.is(envoyHedge)
    case 34: return name.is(envoyServiceCluster)
    case 35:
      switch name[8] {
      case UInt8(ascii: "u"): return name.is(envoyStreamDuration)
      case UInt8(ascii: "i"): return name.is(envoyImmediateHealthCheckFail)
      default: return other
      }
    case 38:
      switch name[17] {
      case UInt8(ascii: "r"): return name.is(envoyPerTryTimeout)
      case UInt8(ascii: "h"): return name.is(envoyHealthCheckedCluster)
      default: return other
      }
    case 40: return name.is(envoyTimeoutAltResponse)
    default: return other
    }
  }
}

extension Bytes {
  /// `id` when this is its name.
  @inline(__always)
  fileprivate func `is`(_ id: HeaderID) -> HeaderID { self == id.text ? id : .other }
}
