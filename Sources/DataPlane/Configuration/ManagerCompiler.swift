import Engine
import HTTPCodec
import HTTPModel
import ResourceModel
import Resources
import Routing
import SwiftProtobuf
import Telemetry
import Upstream

/// Compiles one HTTP connection manager with its chain and routes.
struct ManagerCompiler {
  typealias Message =
    Envoy_Extensions_Filters_Network_HttpConnectionManager_V3_HttpConnectionManager

  let context: CompileContext
  let index: Int
  let bufferLimit: Int

  func compile(_ message: Message, at path: ConfigPath) -> CompiledManager {
    let scope = "http.\(message.statPrefix)."
    let chains = ChainCompiler(context: context, managerScope: scope)
    let result = chains.compile(message.httpFilters, at: path.field("http_filters"))
    let compiler = RouteTableCompiler(
      filters: result.filters, router: result.router, managerScope: scope)
    return CompiledManager(
      manager: .configured(make(message, chain: result.chain, router: result.router, at: path)),
      filters: result.filters, routes: routes(message, compiler, at: path), compiler: compiler)
  }

  /// Without filters and routes.
  func bare(_ message: Message) -> Ref<ConnectionManager> {
    .configured(
      make(message, chain: FilterChain([], stateBytes: 0), router: .init(), at: .root))
  }

  private func routes(
    _ message: Message, _ compiler: RouteTableCompiler, at path: ConfigPath
  ) -> CompiledManager.Routes {
    guard case .rds(let rds)? = message.routeSpecifier else {
      return .fixed(
        compiler.compile(message.routeConfig, at: path.field("route_config"), context))
    }
    context.streams.check(
      rds.configSource, at: path.field("rds").field("config_source"), context.diagnostics)
    return .discovered(name: rds.routeConfigName, rds.configSource)
  }

  private func make(
    _ m: Message, chain: FilterChain,
    router: Envoy_Extensions_Filters_Http_Router_V3_Router, at path: ConfigPath
  ) -> ConnectionManager {
    let common = m.commonHTTPProtocolOptions
    let http1 = m.httpProtocolOptions
    let headKilobytes =
      m.hasMaxRequestHeadersKb ? Int(m.maxRequestHeadersKb.value) : Defaults.maxHeadersKilobytes
    return ConnectionManager(
      statPrefix: .configured(m.statPrefix), index: index,
      stats: .configured(ConnectionManagerStats(prefix: m.statPrefix, in: context.store)),
      chain: .configured(chain),
      accessLogs: .configured(
        AccessLogCompiler(context: context).compile(m.accessLog, at: path.field("access_log"))),
      localReplies: localReplies(m, at: path), codec: codec(m),
      http2: HTTP2Compiler.options(m.http2ProtocolOptions, role: .server),
      http2Keepalive: HTTP2Compiler.keepalive(m.http2ProtocolOptions),
      http2Stats: .configured(HTTP2Stats(scope: "", role: .server, in: context.store)),
      maxHeadBytes: headKilobytes * 1024,
      maxFields: common.hasMaxHeadersCount
        ? Int(common.maxHeadersCount.value) : Defaults.maxHeadersCount,
      bufferLimit: bufferLimit,
      maxRequestsPerConnection: common.maxRequestsPerConnection.value,
      connectionIdleTimeout: time(
        common.hasIdleTimeout, common.idleTimeout, Defaults.connectionIdleTimeout),
      maxConnectionDuration: common.maxConnectionDuration.milliseconds,
      maxStreamDuration: common.maxStreamDuration.milliseconds,
      streamIdleTimeout: time(
        m.hasStreamIdleTimeout, m.streamIdleTimeout, Defaults.streamIdleTimeout),
      requestTimeout: m.requestTimeout.milliseconds,
      requestHeadersTimeout: m.requestHeadersTimeout.milliseconds,
      drainTimeout: time(m.hasDrainTimeout, m.drainTimeout, Defaults.drainTimeout),
      delayedCloseTimeout: time(
        m.hasDelayedCloseTimeout, m.delayedCloseTimeout, Defaults.delayedCloseTimeout),
      usesRemoteAddress: m.useRemoteAddress.value, trustedHops: m.xffNumTrustedHops,
      skipsForwardedFor: m.skipXffAppend, appendsForwardedPort: m.appendXForwardedPort,
      internalAddresses: internalAddresses(m),
      certificateForwarding: certificateForwarding(m),
      generatesRequestID: m.hasGenerateRequestID
        ? m.generateRequestID.value : Defaults.generateRequestID,
      preservesRequestID: m.preserveExternalRequestID, pathRules: pathRules(m),
      stripsAnyPort: m.stripAnyHostPort, stripsMatchingPort: m.stripMatchingHostPort,
      stripsTrailingDot: m.stripTrailingHostDot,
      allowsAbsoluteURL: !http1.hasAllowAbsoluteURL || http1.allowAbsoluteURL.value,
      acceptsHTTP10: http1.acceptHTTP10, defaultHost: .configured(http1.defaultHostForHTTP10),
      underscores: underscores(common), proxies100Continue: m.proxy100Continue,
      staysOpenAfterError: http1.hasOverrideStreamErrorOnInvalidHTTPMessage
        ? http1.overrideStreamErrorOnInvalidHTTPMessage.value
        : m.streamErrorOnInvalidHTTPMessage.value,
      passesTrailers: http1.enableTrailers,
      addsUserAgent: m.addUserAgent.value,
      upgrades: .configured(
        m.upgradeConfigs.map {
          .init(type: .configured($0.upgradeType), isEnabled: !$0.hasEnabled || $0.enabled.value)
        }),
      nodeID: .configured(context.node.id), nodeCluster: .configured(context.node.cluster),
      serverHeader: serverHeader(m),
      serverLine: .configured(
        HeaderID.server.name, id: .server,
        .configured(m.serverName.isEmpty ? Defaults.serverName : m.serverName)),
      countsAnswers: !router.hasDynamicStats || router.dynamicStats.value,
      strictHeaders: .configured(router.strictCheckHeaders.compactMap(StrictHeader.init)),
      via: .configured(m.via), returnsRequestID: m.alwaysSetRequestIDInResponse)
  }

  private func codec(_ message: Message) -> ConnectionManager.Codec {
    switch message.codecType {
    case .http1: .http1
    case .http2: .http2
    case .auto, .UNRECOGNIZED: .auto
    }
  }

  private func time(
    _ isSet: Bool, _ duration: Google_Protobuf_Duration, _ fallback: Duration
  ) -> UInt64 {
    isSet ? duration.milliseconds : fallback.wholeMilliseconds
  }

  private func certificateForwarding(_ m: Message) -> CertificateForwarding {
    var rules = CertificateForwarding()
    rules.mode =
      switch m.forwardClientCertDetails {
      case .forwardOnly: .forwardOnly
      case .appendForward: .appendForward
      case .sanitizeSet: .sanitizeSet
      case .alwaysForwardOnly: .alwaysForwardOnly
      case .sanitize, .UNRECOGNIZED: .sanitize
      }
    let details = m.setCurrentClientCertDetails
    rules.showsCertificate = details.cert
    rules.showsChain = details.chain
    rules.showsSubject = details.subject.value
    rules.showsURI = details.uri
    rules.showsDNS = details.dns
    return rules
  }

  private func localReplies(_ m: Message, at path: ConfigPath) -> Ref<LocalReplyConfig>? {
    guard m.hasLocalReplyConfig else { return nil }
    return LocalReplyCompiler(context: context).compile(
      m.localReplyConfig, at: path.field("local_reply_config"))
  }

  private func underscores(
    _ options: Envoy_Config_Core_V3_HttpProtocolOptions
  ) -> ConnectionManager.Underscores {
    switch options.headersWithUnderscoresAction {
    case .rejectRequest: .reject
    case .dropHeader: .drop
    default: .allow
    }
  }

  private func serverHeader(_ message: Message) -> ConnectionManager.ServerHeader {
    switch message.serverHeaderTransformation {
    case .appendIfAbsent: .appendIfAbsent
    case .passThrough: .passThrough
    default: .overwrite
    }
  }

  private func pathRules(_ message: Message) -> PathNormalizer {
    let slashes: PathNormalizer.EscapedSlashes
    switch message.pathWithEscapedSlashesAction {
    case .rejectRequest: slashes = .reject
    case .unescapeAndRedirect: slashes = .redirect
    case .unescapeAndForward: slashes = .unescape
    default: slashes = .keep
    }
    return PathNormalizer(
      normalizes: message.normalizePath.value, mergesSlashes: message.mergeSlashes,
      escapedSlashes: slashes)
  }

  /// What Envoy takes for internal where it is asked for internal addresses and given no ranges:
  /// private ones (RFC 1918, RFC 4193), and loopback.
  private static var privateRanges: [AddressRange] {
    [
      ("10.0.0.0", 8), ("172.16.0.0", 12), ("192.168.0.0", 16), ("127.0.0.1", 32), ("fc00::", 7),
      ("::1", 128),
    ].compactMap { text, bits in
      SocketAddress(ip: text, port: 0).map { AddressRange($0, bits: bits) }
    }
  }

  private func internalAddresses(_ message: Message) -> AddressRanges {
    let ranges = message.internalAddressConfig.cidrRanges.compactMap(AddressRange.init)
    guard !ranges.isEmpty || !message.hasInternalAddressConfig else {
      return AddressRanges(
        Self.privateRanges, includesUnix: message.internalAddressConfig.unixSockets)
    }
    return AddressRanges(ranges, includesUnix: message.internalAddressConfig.unixSockets)
  }
}

extension AddressRange {
  /// nil when the prefix is no IP address, which has been reported.
  init?(_ message: Envoy_Config_Core_V3_CidrRange) {
    guard let address = SocketAddress(ip: message.addressPrefix, port: 0) else { return nil }
    self.init(address, bits: Int(message.prefixLen.value))
  }
}
