/// Every operator of a format string: what it evaluates, and what may stand in its parentheses.
enum LogOperators {
  /// What an operator does.
  enum Meaning: Sendable {
    case field(LogField)
    case header(LogHeaders)
    case metadata(LogMetadata)
    /// `METADATA(kind:namespace:key)`
    case metadataOfKind
    case duration(from: LogTimePoint, to: LogTimePoint)
    case commonDuration
    case time(LogOp.Clock)
    case responseFlags(long: Bool)
    case grpcStatus
    case queryParameter
    case queryParameters
    case path
    case environment
    case hostname
    /// Never has a value here: what it describes (internal addresses) does not occur.
    case absent
    case constantNumber
    case constantText
    /// Envoy knows it, this proxy does not; the sentence says why.
    case unsupported(String)
  }

  /// What stands between parentheses and after a colon.
  enum Form: Sendable {
    /// Nothing.
    case bare
    /// Optional parentheses, no length.
    case optional
    /// Optional parentheses and an optional length.
    case optionalWithLength
    /// Parentheses, and an optional length.
    case required
  }

  static let all: [String: (meaning: Meaning, form: Form)] = {
    var table: [String: (meaning: Meaning, form: Form)] = [:]
    for (name, field) in fields { table[name] = (.field(field), .bare) }
    for (name, meaning, form) in special { table[name] = (meaning, form) }
    for (name, field) in tls { table[name] = (.field(field), .bare) }
    for name in internalListeners { table[name] = (.absent, .bare) }
    for name in unknownOfTLS {
      table[name] = (.unsupported("this part of a handshake is not kept"), .bare)
    }
    return table
  }()

  private static let special: [(String, Meaning, Form)] = [
    ("REQ", .header(.request), .required),
    ("REQUEST_HEADER", .header(.request), .required),
    ("REQUEST_TRAILER", .header(.requestTrailer), .required),
    ("RESP", .header(.response), .required),
    ("RESPONSE_HEADER", .header(.response), .required),
    ("RESPONSE_TRAILER", .header(.responseTrailer), .required),
    ("TRAILER", .header(.responseTrailer), .required),
    ("DYNAMIC_METADATA", .metadata(.dynamic), .required),
    ("CLUSTER_METADATA", .metadata(.cluster), .required),
    ("UPSTREAM_METADATA", .metadata(.upstreamHost), .required),
    ("METADATA", .metadataOfKind, .required),
    (
      "DURATION", .duration(from: .downstreamFirstByteReceived, to: .streamEnd), .bare
    ),
    (
      "REQUEST_DURATION",
      .duration(from: .downstreamFirstByteReceived, to: .downstreamLastByteReceived), .bare
    ),
    (
      "REQUEST_TX_DURATION",
      .duration(from: .downstreamFirstByteReceived, to: .upstreamLastByteSent), .bare
    ),
    (
      "RESPONSE_DURATION",
      .duration(from: .downstreamFirstByteReceived, to: .upstreamFirstByteReceived), .bare
    ),
    (
      "RESPONSE_TX_DURATION",
      .duration(from: .upstreamFirstByteReceived, to: .downstreamLastByteSent), .bare
    ),
    (
      "UPSTREAM_CONNECTION_POOL_READY_DURATION",
      .duration(from: .downstreamFirstByteReceived, to: .upstreamConnectionReady), .bare
    ),
    ("COMMON_DURATION", .commonDuration, .required),
    ("START_TIME", .time(.startUTC), .optional),
    ("START_TIME_LOCAL", .time(.startLocal), .optional),
    ("EMIT_TIME", .time(.nowUTC), .optional),
    ("EMIT_TIME_LOCAL", .time(.nowLocal), .optional),
    ("RESPONSE_FLAGS", .responseFlags(long: false), .bare),
    ("RESPONSE_FLAGS_LONG", .responseFlags(long: true), .bare),
    ("GRPC_STATUS", .grpcStatus, .optional),
    ("GRPC_STATUS_NUMBER", .grpcStatus, .bare),
    ("QUERY_PARAM", .queryParameter, .required),
    ("QUERY_PARAMS", .queryParameters, .optionalWithLength),
    ("PATH", .path, .optionalWithLength),
    ("ENVIRONMENT", .environment, .required),
    ("HOSTNAME", .hostname, .bare),
    ("CUSTOM_FLAGS", .constantText, .bare),
    ("BYTES_RETRANSMITTED", .constantNumber, .bare),
    ("PACKETS_RETRANSMITTED", .constantNumber, .bare),
    ("CEL", .unsupported("expressions are not evaluated in logs"), .required),
    ("FILTER_STATE", .unsupported("filters keep no filter state here"), .required),
    ("UPSTREAM_FILTER_STATE", .unsupported("filters keep no filter state here"), .required),
    (
      "ROUTE_RESOLUTION_COUNT", .unsupported("route resolutions are not counted"), .bare
    ),
    (
      "ROUTE_RESOLUTION_TIME_US", .unsupported("route resolution is not timed"), .bare
    ),
    ("REQ_WITHOUT_QUERY", .unsupported("use PATH(NQ)"), .required),
    ("FILE_CONTENT", .unsupported("files are not read into logs"), .required),
    ("SECRET", .unsupported("secrets do not reach logs"), .required),
    ("XFCC_VALUE", .unsupported("use REQ(x-forwarded-client-cert)"), .required),
  ]

  private static let fields: [(String, LogField)] = [
    ("ACCESS_LOG_TYPE", .accessLogType),
    ("CONNECTION_TERMINATION_DETAILS", .connectionTerminationDetails),
    ("FILTER_CHAIN_NAME", .filterChainName), ("LOCAL_REPLY_BODY", .localReplyBody),
    ("PROTOCOL", .protocolName), ("REQUESTED_SERVER_NAME", .requestedServerName),
    ("RESPONSE_CODE", .responseCode), ("RESPONSE_CODE_DETAILS", .responseCodeDetails),
    ("ROUTE_NAME", .routeName), ("STREAM_ID", .streamID), ("UNIQUE_ID", .uniqueID),
    ("VIRTUAL_CLUSTER_NAME", .virtualClusterName), ("TRACE_ID", .traceID), ("SPAN_ID", .spanID),
    ("BYTES_RECEIVED", .bytesReceived), ("BYTES_SENT", .bytesSent),
    ("REQUEST_HEADERS_BYTES", .requestHeadersBytes),
    ("RESPONSE_HEADERS_BYTES", .responseHeadersBytes),
    ("RESPONSE_TRAILERS_BYTES", .responseTrailersBytes),
    ("DOWNSTREAM_HEADER_BYTES_RECEIVED", .downstreamHeaderBytesReceived),
    ("DOWNSTREAM_HEADER_BYTES_SENT", .downstreamHeaderBytesSent),
    // Heads are not compressed in HTTP/1.
    ("DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED", .downstreamHeaderBytesReceived),
    ("DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT", .downstreamHeaderBytesSent),
    ("DOWNSTREAM_WIRE_BYTES_RECEIVED", .downstreamWireBytesReceived),
    ("DOWNSTREAM_WIRE_BYTES_SENT", .downstreamWireBytesSent),
    ("UPSTREAM_HEADER_BYTES_RECEIVED", .upstreamHeaderBytesReceived),
    ("UPSTREAM_HEADER_BYTES_SENT", .upstreamHeaderBytesSent),
    ("UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED", .upstreamHeaderBytesReceived),
    ("UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT", .upstreamHeaderBytesSent),
    ("UPSTREAM_WIRE_BYTES_RECEIVED", .upstreamWireBytesReceived),
    ("UPSTREAM_WIRE_BYTES_SENT", .upstreamWireBytesSent),
    ("CONNECTION_ID", .connectionID), ("DOWNSTREAM_CX_RTT", .downstreamRoundTripTime),
    ("DOWNSTREAM_DETECTED_CLOSE_TYPE", .downstreamDetectedCloseType),
    ("DOWNSTREAM_LOCAL_CLOSE_REASON", .downstreamLocalCloseReason),
    ("DOWNSTREAM_TRANSPORT_FAILURE_REASON", .downstreamTransportFailureReason),
    ("DOWNSTREAM_LOCAL_ADDRESS", .downstreamLocalAddress),
    ("DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", .downstreamLocalAddressWithoutPort),
    ("DOWNSTREAM_LOCAL_PORT", .downstreamLocalPort),
    ("DOWNSTREAM_REMOTE_ADDRESS", .downstreamRemoteAddress),
    ("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", .downstreamRemoteAddressWithoutPort),
    ("DOWNSTREAM_REMOTE_PORT", .downstreamRemotePort),
    ("DOWNSTREAM_DIRECT_LOCAL_ADDRESS", .downstreamDirectLocalAddress),
    ("DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT", .downstreamDirectLocalAddressWithoutPort),
    ("DOWNSTREAM_DIRECT_LOCAL_PORT", .downstreamDirectLocalPort),
    ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS", .downstreamDirectRemoteAddress),
    ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", .downstreamDirectRemoteAddressWithoutPort),
    ("DOWNSTREAM_DIRECT_REMOTE_PORT", .downstreamDirectRemotePort),
    ("UPSTREAM_CLUSTER", .upstreamCluster), ("UPSTREAM_CLUSTER_RAW", .upstreamClusterRaw),
    ("UPSTREAM_CONNECTION_ID", .upstreamConnectionID),
    ("UPSTREAM_CONNECTION_IDS_ATTEMPTED", .upstreamConnectionIDsAttempted),
    ("UPSTREAM_DETECTED_CLOSE_TYPE", .upstreamDetectedCloseType),
    ("UPSTREAM_LOCAL_CLOSE_REASON", .upstreamLocalCloseReason),
    ("UPSTREAM_TRANSPORT_FAILURE_REASON", .upstreamTransportFailureReason),
    ("UPSTREAM_HOST", .upstreamHost), ("UPSTREAM_HOST_NAME", .upstreamHostName),
    ("UPSTREAM_HOST_NAME_WITHOUT_PORT", .upstreamHostNameWithoutPort),
    ("UPSTREAM_HOSTS_ATTEMPTED", .upstreamHostsAttempted),
    ("UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT", .upstreamHostsAttemptedWithoutPort),
    ("UPSTREAM_HOST_NAMES_ATTEMPTED", .upstreamHostNamesAttempted),
    ("UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT", .upstreamHostNamesAttemptedWithoutPort),
    ("UPSTREAM_LOCAL_ADDRESS", .upstreamLocalAddress),
    ("UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", .upstreamLocalAddressWithoutPort),
    ("UPSTREAM_LOCAL_PORT", .upstreamLocalPort),
    ("UPSTREAM_REMOTE_ADDRESS", .upstreamRemoteAddress),
    ("UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", .upstreamRemoteAddressWithoutPort),
    ("UPSTREAM_REMOTE_PORT", .upstreamRemotePort), ("UPSTREAM_PROTOCOL", .upstreamProtocol),
    ("UPSTREAM_REQUEST_ATTEMPT_COUNT", .upstreamRequestAttemptCount),
  ]

  private static let tls: [(String, LogField)] = [
    ("DOWNSTREAM_TLS_VERSION", .downstreamTLSVersion),
    ("DOWNSTREAM_TLS_CIPHER", .downstreamTLSCipher),
    ("DOWNSTREAM_TLS_GROUP", .downstreamTLSGroup),
    ("DOWNSTREAM_TLS_SESSION_ID", .downstreamTLSSessionID),
    ("DOWNSTREAM_PEER_SUBJECT", .downstreamPeerSubject),
    ("DOWNSTREAM_PEER_ISSUER", .downstreamPeerIssuer),
    ("DOWNSTREAM_PEER_SERIAL", .downstreamPeerSerial),
    ("DOWNSTREAM_PEER_FINGERPRINT_256", .downstreamPeerFingerprint256),
    ("DOWNSTREAM_PEER_FINGERPRINT_1", .downstreamPeerFingerprint1),
    ("DOWNSTREAM_PEER_URI_SAN", .downstreamPeerURISAN),
    ("DOWNSTREAM_PEER_DNS_SAN", .downstreamPeerDNSSAN),
    ("DOWNSTREAM_PEER_IP_SAN", .downstreamPeerIPSAN),
    ("DOWNSTREAM_PEER_EMAIL_SAN", .downstreamPeerEmailSAN),
    ("DOWNSTREAM_PEER_CERT", .downstreamPeerCert),
    ("DOWNSTREAM_PEER_CERT_V_START", .downstreamPeerCertStart),
    ("DOWNSTREAM_PEER_CERT_V_END", .downstreamPeerCertEnd),
    ("DOWNSTREAM_LOCAL_SUBJECT", .downstreamLocalSubject),
    ("DOWNSTREAM_LOCAL_URI_SAN", .downstreamLocalURISAN),
    ("DOWNSTREAM_LOCAL_DNS_SAN", .downstreamLocalDNSSAN),
    ("DOWNSTREAM_LOCAL_IP_SAN", .downstreamLocalIPSAN),
    ("DOWNSTREAM_LOCAL_EMAIL_SAN", .downstreamLocalEmailSAN),
    ("UPSTREAM_TLS_VERSION", .upstreamTLSVersion), ("UPSTREAM_TLS_CIPHER", .upstreamTLSCipher),
    ("UPSTREAM_TLS_GROUP", .upstreamTLSGroup),
    ("UPSTREAM_TLS_SESSION_ID", .upstreamTLSSessionID),
    ("UPSTREAM_PEER_SUBJECT", .upstreamPeerSubject),
    ("UPSTREAM_PEER_ISSUER", .upstreamPeerIssuer),
    ("UPSTREAM_PEER_URI_SAN", .upstreamPeerURISAN),
    ("UPSTREAM_PEER_DNS_SAN", .upstreamPeerDNSSAN), ("UPSTREAM_PEER_IP_SAN", .upstreamPeerIPSAN),
    ("UPSTREAM_PEER_CERT", .upstreamPeerCert),
    ("UPSTREAM_PEER_CERT_V_START", .upstreamPeerCertStart),
    ("UPSTREAM_PEER_CERT_V_END", .upstreamPeerCertEnd),
    ("UPSTREAM_LOCAL_URI_SAN", .upstreamLocalURISAN),
    ("UPSTREAM_LOCAL_DNS_SAN", .upstreamLocalDNSSAN),
    ("UPSTREAM_LOCAL_IP_SAN", .upstreamLocalIPSAN),
  ]

  /// Facts about internal listeners, which there are none of.
  private static let internalListeners: [String] = [
    "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID", "DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID",
    "UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID",
  ]

  /// What is not kept of a handshake: saying nothing would look like there being nothing.
  private static let unknownOfTLS: [String] = [
    "DOWNSTREAM_HANDSHAKE_DURATION", "DOWNSTREAM_LOCAL_OTHERNAME_SAN",
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1", "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256",
    "DOWNSTREAM_PEER_CHAIN_SERIALS", "DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256",
    "DOWNSTREAM_PEER_ISSUER_SERIAL", "DOWNSTREAM_PEER_OTHERNAME_SAN", "TLS_JA3_FINGERPRINT",
    "TLS_JA4_FINGERPRINT", "UPSTREAM_SERVER_NAME",
  ]
}
