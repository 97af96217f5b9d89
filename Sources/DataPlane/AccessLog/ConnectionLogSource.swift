import Engine
import HTTPModel
import Routing
import Telemetry

/// What a listener's access log asks a connection that has ended for. What is about a request, an
/// answer or an upstream has no value, as in Envoy.
struct ConnectionLogSource: LoggedExchange {
  private let connection: Ref<DownstreamConnection>

  init(_ connection: Ref<DownstreamConnection>) { self.connection = connection }

  private var lifetime: UInt64 { connection.loop.now &- connection.value.openedAt }

  var startTime: UInt64 { now &- lifetime }
  var now: UInt64 { connection.loop.wallClock }
  var responseFlags: ResponseFlags { connection.value.flags }

  func header(_ headers: LogHeaders, _ name: LogHeaderName) -> LogBytes? { nil }

  func time(of point: LogTimePoint) -> UInt64? {
    switch point {
    case .downstreamFirstByteReceived: connection.value.openedAt
    case .streamEnd: connection.loop.now
    default: nil
    }
  }

  func metadata(_ kind: LogMetadata, _ path: LogPath, scratch: inout ByteSink) -> LogValue {
    .absent
  }

  func value(of field: LogField, scratch: inout ByteSink) -> LogValue {
    switch field {
    case .accessLogType: .bytes(LogBytes("NotSet"))
    case .protocolName: protocolName
    case .connectionID: .number(Int64(clamping: connection.value.id))
    case .bytesReceived: .number(Int64(clamping: connection.value.connection.bytesRead))
    case .bytesSent: .number(Int64(clamping: connection.value.connection.bytesWritten))
    case .downstreamDetectedCloseType: .bytes(LogBytes(connection.value.closeType))
    case .localReplyBody: .bytes(LogBytes(""))
    case .responseCode, .requestHeadersBytes, .responseHeadersBytes, .responseTrailersBytes,
      .downstreamHeaderBytesReceived, .downstreamHeaderBytesSent, .downstreamWireBytesReceived,
      .downstreamWireBytesSent, .upstreamHeaderBytesReceived, .upstreamHeaderBytesSent,
      .upstreamWireBytesReceived, .upstreamWireBytesSent, .upstreamConnectionID,
      .upstreamRequestAttemptCount:
      .number(0)
    default:
      connection.logValue(of: field, client: connection.value.remote, &scratch) ?? .absent
    }
  }

  /// Known with the first request that could be read.
  private var protocolName: LogValue {
    let refused: UInt32 = connection.value.flags.isEmpty ? 0 : 1
    guard connection.value.requests > refused else { return .absent }
    return .bytes(LogBytes(connection.value.isHTTP10 ? "HTTP/1.0" : "HTTP/1.1"))
  }

  // MARK: What filters ask

  var status: Int { 0 }
  var milliseconds: UInt64 { lifetime / 1_000_000 }
  var random: UInt64 { connection.loop.state.value.random.next() >> 1 }
  var grpcStatus: Int { 2 }
  var isHealthCheck: Bool { false }

  func matches(_ matcher: Ref<HeaderMatcher>) -> Bool { matcher.value.matches(HeaderMap()) }
  func metadata(_ space: Bytes, _ key: Bytes) -> Bytes? { nil }
}
