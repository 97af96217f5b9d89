import Engine
import ResourceModel
import Resources
import SwiftProtobuf
import Telemetry
import Upstream

/// Compiles `transport_socket` wherever one may stand.
struct TransportSocketCompiler {
  let diagnostics: Diagnostics
  let store: StatsStore
  let sources: TLSSources
  let streams: StreamSources

  init(_ context: CompileContext) {
    diagnostics = context.diagnostics
    store = context.store
    sources = context.tls
    streams = context.streams
  }

  private typealias ProxyTransport =
    Envoy_Extensions_TransportSockets_ProxyProtocol_V3_ProxyProtocolUpstreamTransport

  private static let raw = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"

  /// A cluster's.
  func compile(
    _ cluster: Envoy_Config_Cluster_V3_Cluster, config: Ref<ClusterConfig>, at path: ConfigPath
  ) {
    compileMatches(cluster, config: config, at: path)
    var place = path.field("transport_socket").field("typed_config")
    guard cluster.hasTransportSocket, let any = upstreamContent(cluster.transportSocket, at: &place)
    else {
      guard config.value.http.speaks == .negotiated, !diagnostics.hasError(at: place) else {
        return
      }
      return diagnostics.error(
        at: path.field("typed_extension_protocol_options"),
        "auto_config agrees upon the protocol in TLS; it needs a transport_socket with "
          + "UpstreamTlsContext")
    }
    guard let message = try? TLSCompiler.Upstream(unpackingAny: any) else {
      return diagnostics.error(at: place, "expected UpstreamTlsContext or RawBuffer")
    }
    guard check(message, config, at: place) else { return }
    // Health checks ask for what they, or the context, are told to, and for nothing of themselves.
    if let check = config.value.healthCheck, check.value.protocols.isEmpty {
      check.value.protocols = HealthCheckConfig.protocolList(message.commonTlsContext.alpnProtocols)
    }
    let source = source(
      .upstream(message), at: place, scope: "cluster.\(config.value.statName.string).")
    if let source { config.value.security = Int32(truncatingIfNeeded: sources.add(source)) }
  }

  /// Whether the names that it is to verify can be.
  private func check(
    _ message: TLSCompiler.Upstream, _ config: Ref<ClusterConfig>, at place: ConfigPath
  ) -> Bool {
    guard message.commonTlsContext.validationContextType == nil else { return true }
    if message.autoSniSanValidation {
      diagnostics.error(
        at: place.field("auto_sni_san_validation"),
        "needs a validation_context with trusted_ca to check the certificate's chain with")
    } else if config.value.http.names.verifies {
      diagnostics.error(
        at: place.field("common_tls_context"),
        "auto_san_validation needs a validation_context with trusted_ca to check the "
          + "certificate's chain with")
    } else {
      return true
    }
    return false
  }

  /// The sockets of endpoints that ask for one.
  private func compileMatches(
    _ cluster: Envoy_Config_Cluster_V3_Cluster, config: Ref<ClusterConfig>, at path: ConfigPath
  ) {
    let matches = cluster.transportSocketMatches
    if !matches.isEmpty, config.value.http.speaks == .negotiated {
      return diagnostics.error(
        at: path.field("transport_socket_matches"), "not supported together with auto_config")
    }
    for (index, match) in matches.enumerated() {
      let place = path.field("transport_socket_matches").index(index).field("transport_socket")
        .field("typed_config")
      guard let any = content(match.transportSocket, at: place) else { continue }
      guard let message = try? TLSCompiler.Upstream(unpackingAny: any) else {
        diagnostics.error(at: place, "expected UpstreamTlsContext or RawBuffer")
        continue
      }
      guard check(message, config, at: place),
        let source = source(
          .upstream(message), at: place, scope: "cluster.\(config.value.statName.string).")
      else { continue }
      let found = config.value.socketMatches[index]
      found.value.security = Int32(truncatingIfNeeded: sources.add(source))
    }
  }

  /// A cluster's, without a PROXY header in front, which is the cluster compiler's.
  private func upstreamContent(
    _ socket: Envoy_Config_Core_V3_TransportSocket, at path: inout ConfigPath
  ) -> Google_Protobuf_Any? {
    guard let any = content(socket, at: path), any.isA(ProxyTransport.self) else {
      return content(socket, at: path)
    }
    path = path.field("transport_socket").field("typed_config")
    guard let message = try? ProxyTransport(unpackingAny: any) else { return nil }
    return content(message.transportSocket, at: path)
  }

  /// A filter chain's; nil for plain bytes, and after a mistake.
  func compile(
    _ chain: Envoy_Config_Listener_V3_FilterChain, scope: String, at path: ConfigPath
  ) -> ChainSecurity? {
    guard chain.hasTransportSocket else { return nil }
    let place = path.field("transport_socket").field("typed_config")
    guard let any = content(chain.transportSocket, at: place) else { return nil }
    guard let message = try? TLSCompiler.Downstream(unpackingAny: any) else {
      diagnostics.error(at: place, "expected DownstreamTlsContext or RawBuffer")
      return nil
    }
    guard let source = source(.downstream(message), at: place, scope: scope) else { return nil }
    return ChainSecurity(
      place: sources.add(source),
      handshakeLimit: chain.transportSocketConnectTimeout.milliseconds)
  }

  /// That of a client which believes whoever answers; nil after a mistake.
  func unverified(at path: ConfigPath, scope: String) -> TLSSource? {
    source(.upstream(TLSCompiler.Upstream()), at: path, scope: scope)
  }

  /// nil after a mistake.
  private func source(
    _ message: TLSSource.Message, at path: ConfigPath, scope: String
  ) -> TLSSource? {
    guard checkSecrets(of: message.common, at: path.field("common_tls_context")) else { return nil }
    return TLSSource(message, at: path, scope: scope, diagnostics, in: store, secrets: sources)
  }

  /// Whether the secrets that it names can be asked for.
  private func checkSecrets(of common: TLSCompiler.Common, at path: ConfigPath) -> Bool {
    let before = diagnostics.errorCount
    if !common.tlsCertificates.isEmpty, !common.tlsCertificateSdsSecretConfigs.isEmpty {
      // Envoy takes no notice of these then.
      diagnostics.error(
        at: path.field("tls_certificate_sds_secret_configs"), "goes without tls_certificates")
    }
    for secret in common.secrets(at: path) {
      if let key = secret.key {
        streams.check(key.source, at: secret.path.field("sds_config"), diagnostics)
      } else if sources.statics[secret.name] == nil {
        diagnostics.error(
          at: secret.path.field("name"),
          "static_resources.secrets has no '\(secret.name)', and no sds_config says where it is")
      }
    }
    return diagnostics.errorCount == before
  }

  /// nil for plain bytes, and after a mistake.
  private func content(
    _ socket: Envoy_Config_Core_V3_TransportSocket, at path: ConfigPath
  ) -> Google_Protobuf_Any? {
    guard case .typedConfig(let any)? = socket.configType, !any.typeURL.isEmpty else {
      if !diagnostics.hasError(at: path) { diagnostics.error(at: path, "missing") }
      return nil
    }
    return any.typeURL.hasSuffix("/" + Self.raw) ? nil : any
  }
}
