import CLinux
import Engine
import HTTPModel
import Routing
import Telemetry

/// What an access log asks a session that has ended for. What is about a request or an answer has no
/// value, as in Envoy.
struct TCPLogSource: LoggedExchange {
  private let session: Ref<TCPSession>
  /// What `%ACCESS_LOG_TYPE%` shows: the listener's log does not know of sessions.
  private let logType: StaticString

  init(_ session: Ref<TCPSession>, logType: StaticString) {
    self.session = session
    self.logType = logType
  }

  private var lifetime: UInt64 { session.loop.now &- session.value.openedAt }

  var startTime: UInt64 { now &- lifetime }
  var now: UInt64 { session.loop.wallClock }
  var responseFlags: ResponseFlags { session.value.flags }

  func header(_ headers: LogHeaders, _ name: LogHeaderName) -> LogBytes? { nil }

  func time(of point: LogTimePoint) -> UInt64? {
    switch point {
    case .downstreamFirstByteReceived: session.value.openedAt
    case .streamEnd: session.loop.now
    default: nil
    }
  }

  func metadata(_ kind: LogMetadata, _ path: LogPath, scratch: inout ByteSink) -> LogValue {
    let noted = session.value.access.metadata.logValue(kind, path)
    if case .absent = noted {
      return session.value.told?.logValue(kind, path, &scratch) ?? .absent
    }
    return noted
  }

  func value(of field: LogField, scratch: inout ByteSink) -> LogValue {
    switch field {
    case .accessLogType: .bytes(LogBytes(logType))
    case .uniqueID: RandomUUID(from: &session.loop.state.value.random).logValue(&scratch)
    case .streamID: session.value.uuid.map { $0.logValue(&scratch) } ?? .absent
    case .connectionID: number(session.value.id)
    case .bytesReceived, .downstreamWireBytesReceived:
      number(session.value.downstream.bytesRead)
    case .bytesSent, .downstreamWireBytesSent: number(session.value.downstream.bytesWritten)
    case .upstreamWireBytesSent: number(session.value.upstream.bytesWritten)
    case .upstreamWireBytesReceived: number(session.value.upstream.bytesRead)
    case .responseCode, .requestHeadersBytes, .responseHeadersBytes, .responseTrailersBytes,
      .downstreamHeaderBytesReceived, .downstreamHeaderBytesSent, .upstreamHeaderBytesReceived,
      .upstreamHeaderBytesSent:
      .number(0)
    case .connectionTerminationDetails: text(session.value.access.details)
    case .filterChainName: text(session.value.chain?.value.name ?? .empty)
    case .requestedServerName: serverName(&scratch)
    case .downstreamDetectedCloseType: .bytes(LogBytes(session.value.closeType))
    case .upstreamDetectedCloseType: .bytes(LogBytes("Normal"))
    default: downstream(field, &scratch) ?? upstream(field, &scratch)
    }
  }

  private func number(_ number: UInt64) -> LogValue { .number(Int64(clamping: number)) }

  private func text(_ text: Bytes) -> LogValue {
    text.isEmpty ? .absent : .bytes(LogBytes(text))
  }

  private func serverName(_ scratch: inout ByteSink) -> LogValue {
    let mark = scratch.count
    session.value.serverName.withBytes { scratch.append(LogBytes($0)) }
    return scratch.count > mark ? .bytes(scratch.bytes(since: mark)) : .absent
  }

  private func downstream(_ field: LogField, _ scratch: inout ByteSink) -> LogValue? {
    switch field {
    case .downstreamLocalAddress: session.value.local.logValue(.whole, &scratch)
    case .downstreamLocalAddressWithoutPort: session.value.local.logValue(.withoutPort, &scratch)
    case .downstreamLocalPort: session.value.local.logValue(.port, &scratch)
    case .downstreamRemoteAddress: session.value.remote.logValue(.whole, &scratch)
    case .downstreamRemoteAddressWithoutPort:
      session.value.remote.logValue(.withoutPort, &scratch)
    case .downstreamRemotePort: session.value.remote.logValue(.port, &scratch)
    case .downstreamDirectRemoteAddress: session.value.directRemote.logValue(.whole, &scratch)
    case .downstreamDirectRemoteAddressWithoutPort:
      session.value.directRemote.logValue(.withoutPort, &scratch)
    case .downstreamDirectRemotePort: session.value.directRemote.logValue(.port, &scratch)
    default: nil
    }
  }

  private func upstream(_ field: LogField, _ scratch: inout ByteSink) -> LogValue {
    switch field {
    case .upstreamCluster: text(session.value.cluster?.value.config.value.displayName ?? .empty)
    case .upstreamClusterRaw: text(session.value.cluster?.value.config.value.name ?? .empty)
    case .upstreamRequestAttemptCount: .number(Int64(session.value.attempts))
    case .upstreamConnectionID: number(session.value.upstreamID)
    case .upstreamHost, .upstreamRemoteAddress: host(.whole, &scratch)
    case .upstreamRemoteAddressWithoutPort: host(.withoutPort, &scratch)
    case .upstreamRemotePort: host(.port, &scratch)
    case .upstreamLocalAddress: session.value.upstreamLocal.logValue(.whole, &scratch)
    case .upstreamLocalAddressWithoutPort:
      session.value.upstreamLocal.logValue(.withoutPort, &scratch)
    case .upstreamLocalPort: session.value.upstreamLocal.logValue(.port, &scratch)
    case .upstreamTransportFailureReason:
      ConnectError.logValue(
        session.value.connectError, on: session.worker, &scratch)
    case .downstreamLocalCloseReason:
      session.value.refusal.map { .bytes(LogBytes($0.reason)) }
        ?? session.value.closeReason?.logValue ?? .absent
    case .downstreamTransportFailureReason:
      ConnectError.logValue(session.value.handshakeError, on: session.worker, &scratch)
    default: secured(field, &scratch)
    }
  }

  private func secured(_ field: LogField, _ scratch: inout ByteSink) -> LogValue {
    if let fact = field.downstreamFact {
      let facts = session.value.downstreamFacts ?? session.value.downstreamSecured?.facts
      return facts?.logValue(fact, &scratch) ?? .absent
    }
    guard let fact = field.upstreamFact, session.value.upstream.isOpen else { return .absent }
    return session.value.upstreamSecured?.facts.logValue(fact, &scratch) ?? .absent
  }

  private func host(_ part: SocketAddress.LoggedPart, _ scratch: inout ByteSink) -> LogValue {
    session.value.hostAddress.logValue(part, &scratch)
  }

  // MARK: What filters ask

  var status: Int { 0 }
  var milliseconds: UInt64 { lifetime / 1_000_000 }
  var random: UInt64 { session.loop.state.value.random.next() >> 1 }
  var grpcStatus: Int { 2 }
  var isHealthCheck: Bool { false }

  func matches(_ matcher: Ref<HeaderMatcher>) -> Bool { matcher.value.matches(HeaderMap()) }
  func metadata(_ space: Bytes, _ key: Bytes) -> MetadataValue? {
    session.value.access.metadata.value(space, key)
      ?? session.value.told?.text(space, key).map { MetadataValue($0) }
  }
}
