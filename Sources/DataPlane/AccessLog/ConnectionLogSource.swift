import Engine
import HTTPModel
import Routing
import Telemetry

/// A connection as a listener's access log asks for it. What is about a request, an answer or an
/// upstream has no value, as in Envoy.
protocol LoggedConnection: LoggedExchange {
  var loop: EventLoop { get }
  /// On the monotonic clock, in nanoseconds.
  var openedAt: UInt64 { get }

  /// What a proxy in front of us told of it.
  var told: ConnectionTLVs? { get }
  /// What filters in front have noted of it.
  func noted(_ space: Bytes, _ key: Bytes) -> MetadataValue?
  func noted(_ kind: LogMetadata, _ path: LogPath) -> LogValue

  /// A fact about the connection; nil for anything else.
  func connectionValue(of field: LogField, _ scratch: inout ByteSink) -> LogValue?
}

extension LoggedConnection {
  private var lifetime: UInt64 { loop.now &- openedAt }

  var startTime: UInt64 { now &- lifetime }
  var now: UInt64 { loop.wallClock }

  func header(_ headers: LogHeaders, _ name: LogHeaderName) -> LogBytes? { nil }

  func time(of point: LogTimePoint) -> UInt64? {
    switch point {
    case .downstreamFirstByteReceived: openedAt
    case .streamEnd: loop.now
    default: nil
    }
  }

  func metadata(_ kind: LogMetadata, _ path: LogPath, scratch: inout ByteSink) -> LogValue {
    let noted = noted(kind, path)
    if case .absent = noted { return told?.logValue(kind, path, &scratch) ?? .absent }
    return noted
  }

  func value(of field: LogField, scratch: inout ByteSink) -> LogValue {
    switch field {
    case .accessLogType: .bytes(LogBytes("NotSet"))
    case .localReplyBody: .bytes(LogBytes(""))
    case .uniqueID: RandomUUID(from: &loop.state.value.random).logValue(&scratch)
    case .responseCode, .requestHeadersBytes, .responseHeadersBytes, .responseTrailersBytes,
      .downstreamHeaderBytesReceived, .downstreamHeaderBytesSent, .downstreamWireBytesReceived,
      .downstreamWireBytesSent, .upstreamHeaderBytesReceived, .upstreamHeaderBytesSent,
      .upstreamWireBytesReceived, .upstreamWireBytesSent, .upstreamConnectionID,
      .upstreamRequestAttemptCount:
      .number(0)
    default: connectionValue(of: field, &scratch) ?? .absent
    }
  }

  // MARK: What filters ask

  var status: Int { 0 }
  var milliseconds: UInt64 { lifetime / 1_000_000 }
  var random: UInt64 { loop.state.value.random.next() >> 1 }
  var grpcStatus: Int { 2 }
  var isHealthCheck: Bool { false }

  func matches(_ matcher: Ref<HeaderMatcher>) -> Bool { matcher.value.matches(HeaderMap()) }
  func metadata(_ space: Bytes, _ key: Bytes) -> MetadataValue? {
    noted(space, key) ?? told?.text(space, key).map { MetadataValue($0) }
  }
}

/// A connection that is about to be closed.
struct ConnectionLogSource: LoggedConnection {
  private let connection: Ref<DownstreamConnection>

  init(_ connection: Ref<DownstreamConnection>) { self.connection = connection }

  var loop: EventLoop { connection.loop }
  var openedAt: UInt64 { connection.value.openedAt }
  var responseFlags: ResponseFlags { connection.value.flags }
  var told: ConnectionTLVs? { connection.value.told }
  func noted(_ space: Bytes, _ key: Bytes) -> MetadataValue? {
    connection.value.access.metadata.value(space, key)
  }
  func noted(_ kind: LogMetadata, _ path: LogPath) -> LogValue {
    connection.value.access.metadata.logValue(kind, path)
  }

  func connectionValue(of field: LogField, _ scratch: inout ByteSink) -> LogValue? {
    switch field {
    case .protocolName: protocolName
    case .connectionTerminationDetails:
      connection.value.access.details.isEmpty
        ? .absent : .bytes(LogBytes(connection.value.access.details))
    case .connectionID: .number(Int64(clamping: connection.value.id))
    case .bytesReceived: .number(Int64(clamping: connection.value.connection.bytesRead))
    case .bytesSent: .number(Int64(clamping: connection.value.connection.bytesWritten))
    case .downstreamDetectedCloseType: .bytes(LogBytes(connection.value.closeType))
    case .downstreamLocalCloseReason: connection.value.closeReason?.logValue ?? .absent
    default: connection.logValue(of: field, client: connection.value.remote, &scratch)
    }
  }

  /// Known with the first request that could be read.
  private var protocolName: LogValue {
    let refused: UInt32 = connection.value.flags.isEmpty ? 0 : 1
    guard connection.value.requests > refused else { return .absent }
    return .bytes(LogBytes(connection.value.isHTTP10 ? "HTTP/1.0" : "HTTP/1.1"))
  }
}

/// A connection that no filter chain takes.
struct UnmatchedConnectionLogSource: LoggedConnection {
  let facts: ConnectionFacts
  let loop: EventLoop

  var openedAt: UInt64 { loop.now }
  var responseFlags: ResponseFlags { .noRouteFound }
  var told: ConnectionTLVs? { facts.told }
  func noted(_ space: Bytes, _ key: Bytes) -> MetadataValue? { nil }
  func noted(_ kind: LogMetadata, _ path: LogPath) -> LogValue { .absent }

  func connectionValue(of field: LogField, _ scratch: inout ByteSink) -> LogValue? {
    switch field {
    case .responseCodeDetails: .bytes(LogBytes("filter_chain_not_found"))
    case .bytesReceived, .bytesSent: .number(0)
    case .downstreamDetectedCloseType: .bytes(LogBytes("Normal"))
    case .downstreamLocalAddress: facts.local.logValue(.whole, &scratch)
    case .downstreamLocalAddressWithoutPort: facts.local.logValue(.withoutPort, &scratch)
    case .downstreamLocalPort: facts.local.logValue(.port, &scratch)
    case .downstreamDirectLocalAddress: directLocal.logValue(.whole, &scratch)
    case .downstreamDirectLocalAddressWithoutPort: directLocal.logValue(.withoutPort, &scratch)
    case .downstreamDirectLocalPort: directLocal.logValue(.port, &scratch)
    case .downstreamRemoteAddress: facts.remote.logValue(.whole, &scratch)
    case .downstreamRemoteAddressWithoutPort: facts.remote.logValue(.withoutPort, &scratch)
    case .downstreamRemotePort: facts.remote.logValue(.port, &scratch)
    case .downstreamDirectRemoteAddress: facts.directRemote.logValue(.whole, &scratch)
    case .downstreamDirectRemoteAddressWithoutPort:
      facts.directRemote.logValue(.withoutPort, &scratch)
    case .downstreamDirectRemotePort: facts.directRemote.logValue(.port, &scratch)
    default: nil
    }
  }

  /// Nobody asks the kernel any more where a connection that was redirected ended.
  private var directLocal: SocketAddress { facts.isRestored ? SocketAddress() : facts.local }
}
