/// What a log format asks the request for. Implemented by the live stream; every answer is valid
/// until the next call.
@usableFromInline
package protocol LogSource: ~Copyable {
  /// A fact about the request, its connections or its upstream. A text that exists nowhere yet may
  /// be written into `scratch` and returned as `scratch.bytes(since:)`.
  func value(of field: LogField, scratch: inout ByteSink) -> LogValue

  /// The first value of a header, pseudo headers (`:path`) included; nil when it is absent.
  func header(_ headers: LogHeaders, _ name: LogHeaderName) -> LogBytes?

  /// When something happened, in nanoseconds of the monotonic clock; nil when it did not.
  func time(of point: LogTimePoint) -> UInt64?

  /// When the request began, in nanoseconds since 1970.
  var startTime: UInt64 { get }

  /// The time now, in nanoseconds since 1970.
  var now: UInt64 { get }

  /// What went wrong.
  var responseFlags: ResponseFlags { get }

  /// A value under a filter's name: text as `.bytes`, anything else as `.json`.
  func metadata(_ kind: LogMetadata, _ path: LogPath, scratch: inout ByteSink) -> LogValue
}

/// What an operator evaluates to.
@usableFromInline
package enum LogValue {
  /// Nothing: `-` in a text, `null` in JSON.
  case absent
  case bytes(LogBytes)
  case number(Int64)
  /// JSON as it is, for metadata that is not text.
  case json(LogBytes)
}

/// Which headers an operator looks into.
@usableFromInline
package enum LogHeaders: UInt8, Sendable {
  case request
  case response
  case requestTrailer
  case responseTrailer
}

/// A header's name in lower case, and the number that the format's compiler was given for it.
@usableFromInline
package struct LogHeaderName {
  @usableFromInline
  package let bytes: LogBytes
  /// As returned by `LogFormatOptions.knownHeader`; 0 for a name without a number.
  @usableFromInline
  package let known: UInt8

  @inlinable
  package init(bytes: LogBytes, known: UInt8) {
    self.bytes = bytes
    self.known = known
  }
}

/// Whose metadata an operator looks into.
@usableFromInline
package enum LogMetadata: UInt8, Sendable {
  case dynamic
  case cluster
  case route
  case upstreamHost
  case listener
  case virtualHost
}

/// The parts of `namespace:key:key`.
@usableFromInline
package struct LogPath {
  /// The parts, each ended by a zero byte.
  @usableFromInline
  package let joined: LogBytes

  @inlinable
  package init(joined: LogBytes) { self.joined = joined }

  /// Calls `body` with each part, the namespace first.
  @usableFromInline
  package func visitParts(_ body: (LogBytes) -> Void) {
    let bytes = unsafe joined.buffer
    var start = 0
    for index in 0..<bytes.count where unsafe bytes[index] == 0 {
      body(unsafe LogBytes(UnsafeBufferPointer(rebasing: bytes[start..<index])))
      start = index + 1
    }
  }
}

/// Moments of a request that durations are measured between, with Envoy's names for them.
@usableFromInline
package enum LogTimePoint: UInt8, CaseIterable, Sendable {
  case downstreamFirstByteReceived
  case downstreamLastByteReceived
  case upstreamConnectStart
  case upstreamConnectEnd
  case upstreamHandshakeEnd
  case upstreamFirstByteSent
  case upstreamLastByteSent
  case upstreamFirstByteReceived
  case upstreamFirstBodyByteReceived
  case upstreamLastByteReceived
  case downstreamFirstByteSent
  case downstreamLastByteSent
  /// The end of the request, where `%DURATION%` is measured to.
  case streamEnd
  /// When a pooled or new upstream connection took the request.
  case upstreamConnectionReady

  /// Names in `COMMON_DURATION`.
  static let names: [(String, LogTimePoint)] = [
    ("DS_RX_BEG", .downstreamFirstByteReceived), ("DS_RX_END", .downstreamLastByteReceived),
    ("US_CX_BEG", .upstreamConnectStart), ("US_CX_END", .upstreamConnectEnd),
    ("US_HS_END", .upstreamHandshakeEnd), ("US_TX_BEG", .upstreamFirstByteSent),
    ("US_TX_END", .upstreamLastByteSent), ("US_RX_BEG", .upstreamFirstByteReceived),
    ("US_RX_BODY_BEG", .upstreamFirstBodyByteReceived),
    ("US_RX_END", .upstreamLastByteReceived), ("DS_TX_BEG", .downstreamFirstByteSent),
    ("DS_TX_END", .downstreamLastByteSent),
  ]
}

/// Facts that the stream answers directly. Numbers are answered as `.number`, the rest as `.bytes`;
/// the operator of each stands in `LogOperators`.
@usableFromInline
package enum LogField: UInt8, CaseIterable, Sendable {
  // The exchange.
  case accessLogType, connectionTerminationDetails, filterChainName, localReplyBody, protocolName
  case requestedServerName, responseCode, responseCodeDetails, routeName, streamID, uniqueID
  case virtualClusterName, traceID, spanID
  // Bytes.
  case bytesReceived, bytesSent, requestHeadersBytes, responseHeadersBytes, responseTrailersBytes
  case downstreamHeaderBytesReceived, downstreamHeaderBytesSent
  case downstreamWireBytesReceived, downstreamWireBytesSent
  case upstreamHeaderBytesReceived, upstreamHeaderBytesSent
  case upstreamWireBytesReceived, upstreamWireBytesSent
  // The downstream connection.
  case connectionID, downstreamRoundTripTime, downstreamDetectedCloseType
  case downstreamLocalCloseReason, downstreamTransportFailureReason
  case downstreamLocalAddress, downstreamLocalAddressWithoutPort, downstreamLocalPort
  case downstreamRemoteAddress, downstreamRemoteAddressWithoutPort, downstreamRemotePort
  case downstreamDirectLocalAddress, downstreamDirectLocalAddressWithoutPort
  case downstreamDirectLocalPort
  case downstreamDirectRemoteAddress, downstreamDirectRemoteAddressWithoutPort
  case downstreamDirectRemotePort
  // The upstream.
  case upstreamCluster, upstreamClusterRaw, upstreamConnectionID, upstreamConnectionIDsAttempted
  case upstreamDetectedCloseType, upstreamLocalCloseReason, upstreamTransportFailureReason
  case upstreamHost, upstreamHostName, upstreamHostNameWithoutPort
  case upstreamHostsAttempted, upstreamHostsAttemptedWithoutPort
  case upstreamHostNamesAttempted, upstreamHostNamesAttemptedWithoutPort
  case upstreamLocalAddress, upstreamLocalAddressWithoutPort, upstreamLocalPort
  case upstreamRemoteAddress, upstreamRemoteAddressWithoutPort, upstreamRemotePort
  case upstreamProtocol, upstreamRequestAttemptCount
  // TLS with the client.
  case downstreamTLSVersion, downstreamTLSCipher, downstreamTLSGroup, downstreamTLSSessionID
  case downstreamPeerSubject, downstreamPeerIssuer, downstreamPeerSerial
  case downstreamPeerFingerprint256, downstreamPeerFingerprint1
  case downstreamPeerURISAN, downstreamPeerDNSSAN, downstreamPeerIPSAN, downstreamPeerEmailSAN
  case downstreamPeerCert, downstreamPeerCertStart, downstreamPeerCertEnd
  case downstreamLocalSubject, downstreamLocalURISAN, downstreamLocalDNSSAN
  case downstreamLocalIPSAN, downstreamLocalEmailSAN
  // TLS with the upstream.
  case upstreamTLSVersion, upstreamTLSCipher, upstreamTLSGroup, upstreamTLSSessionID
  case upstreamPeerSubject, upstreamPeerIssuer
  case upstreamPeerURISAN, upstreamPeerDNSSAN, upstreamPeerIPSAN
  case upstreamPeerCert, upstreamPeerCertStart, upstreamPeerCertEnd
  case upstreamLocalURISAN, upstreamLocalDNSSAN, upstreamLocalIPSAN
}
