import CFilterABI
import Engine
import HTTPModel
import Routing
import Telemetry

/// What log formats, header values and local replies ask a live stream for.
struct StreamLogSource: LoggedExchange {
  private let stream: Ref<RequestStream>

  init(_ stream: Ref<RequestStream>) { self.stream = stream }

  var startTime: UInt64 { stream.value.startedWallClock }
  var now: UInt64 { stream.loop.wallClock }
  var responseFlags: ResponseFlags { stream.value.flags }

  func header(_ headers: LogHeaders, _ name: LogHeaderName) -> LogBytes? {
    let text = Bytes(name.bytes)
    // Telemetry does not know our numbers: a name that it asks for itself comes without one.
    let id = name.known == 0 ? HeaderID.of(text) : HeaderID(rawValue: name.known)
    switch headers {
    case .request: return first(stream.value.requestHead, text, id)
    case .response: return first(stream.value.responseHead, text, id)
    case .requestTrailer: return first(stream.value.requestTrailers, text, id)
    case .responseTrailer: return first(stream.value.responseTrailers, text, id)
    }
  }

  private func first(_ head: borrowing HeaderMap, _ text: Bytes, _ id: HeaderID) -> LogBytes? {
    guard let index = head.find(text, id: id) else { return nil }
    return LogBytes(head.value(index))
  }

  func time(of point: LogTimePoint) -> UInt64? {
    let time: UInt64
    switch point {
    case .downstreamFirstByteReceived: return stream.value.startedAt
    case .downstreamLastByteReceived: time = stream.value.requestEndedAt
    case .upstreamConnectionReady, .upstreamFirstByteSent: time = stream.value.upstreamStartedAt
    case .upstreamLastByteSent: time = stream.value.upstreamRequestEndedAt
    case .upstreamFirstByteReceived, .upstreamFirstBodyByteReceived:
      time = stream.value.upstreamRespondedAt
    case .upstreamLastByteReceived: time = stream.value.upstreamEndedAt
    case .downstreamFirstByteSent: time = stream.value.responseStartedAt
    case .downstreamLastByteSent: time = stream.value.responseEndedAt
    case .streamEnd: return stream.loop.now
    case .upstreamConnectStart, .upstreamConnectEnd, .upstreamHandshakeEnd: return nil
    }
    return time == 0 ? nil : time
  }

  func metadata(_ kind: LogMetadata, _ path: LogPath, scratch: inout ByteSink) -> LogValue {
    stream.value.metadata.logValue(kind, path)
  }

  func value(of field: LogField, scratch: inout ByteSink) -> LogValue {
    switch field {
    case .accessLogType: text("DownstreamEnd")
    case .protocolName: text(protocolName)
    case .responseCode: .number(Int64(stream.value.loggedStatus))
    case .responseCodeDetails: optional(stream.value.details)
    case .routeName: stream.value.route.name.map { .bytes(LogBytes($0)) } ?? .absent
    case .streamID: optional(stream.value.requestHead[.xRequestID] ?? .empty)
    case .uniqueID: RandomUUID(from: &stream.loop.state.value.random).logValue(&scratch)
    case .connectionID: number(stream.value.downstream?.value.id)
    case .bytesReceived, .bytesSent, .requestHeadersBytes, .responseHeadersBytes,
      .responseTrailersBytes, .downstreamHeaderBytesReceived, .downstreamHeaderBytesSent,
      .downstreamWireBytesReceived, .downstreamWireBytesSent, .upstreamHeaderBytesReceived,
      .upstreamHeaderBytesSent, .upstreamWireBytesReceived, .upstreamWireBytesSent:
      bytes(field)
    case .upstreamCluster, .upstreamClusterRaw, .upstreamHost, .upstreamHostName,
      .upstreamHostNameWithoutPort, .upstreamRemoteAddress, .upstreamRemoteAddressWithoutPort,
      .upstreamRemotePort, .upstreamProtocol, .upstreamRequestAttemptCount,
      .upstreamConnectionID, .upstreamLocalAddress, .upstreamLocalAddressWithoutPort,
      .upstreamLocalPort:
      upstream(field, &scratch)
    case .upstreamHostsAttempted, .upstreamHostsAttemptedWithoutPort,
      .upstreamHostNamesAttempted, .upstreamHostNamesAttemptedWithoutPort,
      .upstreamConnectionIDsAttempted, .upstreamDetectedCloseType:
      attempted(field, &scratch)
    case .upstreamTransportFailureReason: transportFailure(&scratch)
    default:
      if let fact = field.upstreamFact {
        stream.value.upstreamFacts?.logValue(fact, &scratch) ?? .absent
      } else {
        downstream(field, &scratch)
      }
    }
  }

  private var protocolName: StaticString {
    if stream.value.client.isHTTP2 { return "HTTP/2" }
    return stream.value.minor == 0 ? "HTTP/1.0" : "HTTP/1.1"
  }

  private func text(_ text: StaticString) -> LogValue { .bytes(LogBytes(text)) }

  private func optional(_ text: Bytes) -> LogValue {
    text.isEmpty ? .absent : .bytes(LogBytes(text))
  }

  private func number(_ number: UInt64?) -> LogValue {
    number.map { .number(Int64(clamping: $0)) } ?? .absent
  }

  private func bytes(_ field: LogField) -> LogValue {
    let count: UInt64
    switch field {
    case .bytesReceived: count = stream.value.bytesReceived
    case .bytesSent: count = stream.value.bytesSent
    case .requestHeadersBytes: count = UInt64(stream.value.requestHead.textBytes)
    case .responseHeadersBytes: count = UInt64(stream.value.responseHead.textBytes)
    case .responseTrailersBytes: count = UInt64(stream.value.responseTrailers.textBytes)
    case .downstreamHeaderBytesReceived: count = UInt64(stream.value.receivedHeadBytes)
    case .downstreamHeaderBytesSent: count = UInt64(stream.value.responseHeadBytes)
    case .downstreamWireBytesReceived:
      count = UInt64(stream.value.receivedHeadBytes) &+ stream.value.bytesReceived
    case .downstreamWireBytesSent:
      count = UInt64(stream.value.responseHeadBytes) &+ stream.value.bytesSent
    case .upstreamHeaderBytesSent: count = UInt64(stream.value.requestHeadBytes)
    case .upstreamWireBytesSent:
      count = UInt64(stream.value.requestHeadBytes) &+ stream.value.bytesReceived
    case .upstreamHeaderBytesReceived: count = UInt64(stream.value.upstreamHeadBytes)
    default: count = UInt64(stream.value.upstreamHeadBytes) &+ stream.value.bytesSent
    }
    return .number(Int64(clamping: count))
  }

  private func upstream(_ field: LogField, _ scratch: inout ByteSink) -> LogValue {
    switch field {
    case .upstreamCluster, .upstreamClusterRaw:
      guard let cluster = stream.value.attempt.cluster ?? stream.value.route.cluster else {
        return .absent
      }
      let config = cluster.value.config
      return .bytes(
        LogBytes(field == .upstreamCluster ? config.value.displayName : config.value.name))
    case .upstreamRequestAttemptCount: return .number(Int64(stream.value.attempt.number))
    case .upstreamConnectionID:
      return number(stream.value.attempt.requestStarted ? stream.value.upstreamConnectionID : 0)
    case .upstreamProtocol:
      guard stream.value.upstreamStartedAt > 0 else { return .absent }
      return text(stream.value.upstreamIsHTTP2 ? "HTTP/2" : "HTTP/1.1")
    case .upstreamLocalAddress, .upstreamLocalAddressWithoutPort, .upstreamLocalPort:
      return stream.value.upstreamLocal.logValue(
        field == .upstreamLocalPort
          ? .port : field == .upstreamLocalAddress ? .whole : .withoutPort, &scratch)
    default: break
    }
    guard let host = stream.value.attempt.host else { return .absent }
    let address = stream.value.attempt.hostAddress
    switch field {
    case .upstreamHostName, .upstreamHostNameWithoutPort:
      let name = host.value.hostname
      if !name.isEmpty { return .bytes(LogBytes(name)) }
      return address.logValue(field == .upstreamHostName ? .whole : .withoutPort, &scratch)
    case .upstreamHost: return address.logValue(.whole, &scratch)
    default: break
    }
    // The other end of a connection: there is none before the attempt has one.
    guard stream.value.attempt.requestStarted else { return .absent }
    switch field {
    case .upstreamRemotePort: return address.logValue(.port, &scratch)
    case .upstreamRemoteAddressWithoutPort: return address.logValue(.withoutPort, &scratch)
    default: return address.logValue(.whole, &scratch)
    }
  }

  /// What took the request. As in Envoy, that is the last attempt's, and nobody where it did not come
  /// as far as a connection.
  private func attempted(_ field: LogField, _ scratch: inout ByteSink) -> LogValue {
    // Logged while the upstream's end is unknown, or was in good order.
    if field == .upstreamDetectedCloseType {
      return stream.value.attempt.number > 0 ? text("Normal") : .absent
    }
    guard stream.value.attempt.requestStarted else { return .absent }
    switch field {
    case .upstreamConnectionIDsAttempted: return upstream(.upstreamConnectionID, &scratch)
    case .upstreamHostNamesAttempted: return upstream(.upstreamHostName, &scratch)
    case .upstreamHostNamesAttemptedWithoutPort:
      return upstream(.upstreamHostNameWithoutPort, &scratch)
    case .upstreamHostsAttempted: return upstream(.upstreamRemoteAddress, &scratch)
    default: return upstream(.upstreamRemoteAddressWithoutPort, &scratch)
    }
  }

  /// Why the last connection attempt failed, in one word.
  private func transportFailure(_ scratch: inout ByteSink) -> LogValue {
    guard stream.value.attempt.failure == FL_FAILURE_CONNECT else { return .absent }
    return ConnectError.logValue(
      stream.value.attempt.errorNumber, on: stream.worker, &scratch)
  }

  private func downstream(_ field: LogField, _ scratch: inout ByteSink) -> LogValue {
    switch field {
    case .localReplyBody: .bytes(LogBytes(stream.value.localReplyBody))
    // A request is over before its connection is.
    case .downstreamDetectedCloseType: text("Normal")
    default:
      stream.value.downstream?.logValue(of: field, client: stream.clientAddress, &scratch)
        ?? .absent
    }
  }

  // MARK: What filters ask

  var status: Int { stream.value.loggedStatus }
  var milliseconds: UInt64 { (stream.loop.now &- stream.value.startedAt) / 1_000_000 }
  var random: UInt64 { stream.value.route.random >> 1 }
  var grpcStatus: Int {
    (stream.value.responseTrailers[.grpcStatus] ?? stream.value.responseHead[.grpcStatus])?
      .decimal ?? 2
  }
  var isHealthCheck: Bool { stream.value.isHealthCheck }

  func matches(_ matcher: Ref<HeaderMatcher>) -> Bool {
    matcher.value.matches(stream.value.requestHead)
  }

  func metadata(_ space: Bytes, _ key: Bytes) -> MetadataValue? {
    stream.value.metadata.value(space, key)
  }
}

extension RequestStream {
  /// The status as logs show it: 0 when no response was sent.
  var loggedStatus: Int { headSent || isResponding ? status : 0 }
}
