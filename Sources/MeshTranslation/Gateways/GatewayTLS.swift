import MeshMessages
import MeshModel
import ResourceModel
import SwiftProtobuf

/// What TLS that ends at a gateway's server shows, and whom it lets in.
struct GatewayTLS {
  typealias Context = Envoy_Extensions_TransportSockets_Tls_V3_DownstreamTlsContext
  typealias Validation = Envoy_Extensions_TransportSockets_Tls_V3_CertificateValidationContext
  typealias Settings = Istio_Networking_V1alpha3_ServerTLSSettings

  let node: ProxyNode
  let settings: MeshSettings
  let notes: OmissionNotes

  /// Nil: there is nothing that could be shown, and the server does not listen.
  func socket(of entry: GatewayServers.Entry) -> Envoy_Config_Core_V3_TransportSocket? {
    let tls = entry.server.tls
    if tls.mode == .istioMutual {
      guard node.hasCertificate else {
        return leaveOut(entry, "mode", "the proxy has no certificate")
      }
      return MeshTLS(settings: settings).downstream(isHTTP: entry.isHTTPS)
    }
    let isSecret = [
      tls.credentialName.isEmpty, tls.credentialNames.isEmpty, tls.caCertCredentialName.isEmpty,
    ].contains(false)
    guard !isSecret || node.hasProvenIdentity else {
      return leaveOut(entry, "credentialName", "the proxy has not come to the secured port")
    }
    var context = Context()
    guard setCertificates(tls, in: &context) else { return nil }
    if entry.isHTTPS { context.commonTlsContext.alpnProtocols = ["h2", "http/1.1"] }
    context.commonTlsContext.tlsParams = .with {
      $0.tlsMinimumProtocolVersion = Self.version(tls.minProtocolVersion) ?? .tlsv12
      if let newest = Self.version(tls.maxProtocolVersion) { $0.tlsMaximumProtocolVersion = newest }
      $0.cipherSuites = tls.cipherSuites
    }
    if tls.mode == .mutual || tls.mode == .optionalMutual {
      context.requireClientCertificate = .init(tls.mode == .mutual)
      setValidation(tls, in: &context)
    }
    return .with {
      $0.name = "envoy.transport_sockets.tls"
      $0.typedConfig = context.packed
    }
  }

  private func leaveOut(
    _ entry: GatewayServers.Entry, _ field: String, _ reason: String
  ) -> Envoy_Config_Core_V3_TransportSocket? {
    notes.note(
      entry.gateway.object.id, "servers.tls.\(field)", "the server does not listen: \(reason)")
    return nil
  }

  private func setCertificates(_ tls: Settings, in context: inout Context) -> Bool {
    let names = (tls.credentialName.isEmpty ? [] : [tls.credentialName]) + tls.credentialNames
    context.commonTlsContext.tlsCertificateSdsSecretConfigs = names.map {
      CredentialReference($0).config
    }
    guard names.isEmpty else { return true }
    var files = tls.tlsCertificates.map { ($0.serverCertificate, $0.privateKey) }
    if files.isEmpty { files = [(tls.serverCertificate, tls.privateKey)] }
    guard files.allSatisfy({ !$0.0.isEmpty && !$0.1.isEmpty }) else { return false }
    context.commonTlsContext.tlsCertificates = files.map { chain, key in
      .with {
        $0.certificateChain = .with { $0.filename = chain }
        $0.privateKey = .with { $0.filename = key }
      }
    }
    return true
  }

  private func setValidation(_ tls: Settings, in context: inout Context) {
    var own = Validation.with {
      $0.verifyCertificateHash = tls.verifyCertificateHash
      $0.verifyCertificateSpki = tls.verifyCertificateSpki
      $0.matchTypedSubjectAltNames = tls.subjectAltNames.map { name in
        .with {
          $0.sanType = name.contains("://") ? .uri : .dns
          $0.matcher = .with { $0.exact = name }
        }
      }
    }
    // Of several pairs the first one's Secret says whom to believe, unless one is named for that.
    let secrets = [tls.caCertCredentialName, tls.credentialName] + tls.credentialNames
    if tls.caCertificates.isEmpty, let secret = secrets.first(where: { !$0.isEmpty }) {
      context.commonTlsContext.combinedValidationContext = .with {
        $0.defaultValidationContext = own
        $0.validationContextSdsSecretConfig = CredentialReference(secret, isTrust: true).config
      }
      return
    }
    if !tls.caCertificates.isEmpty { own.trustedCa = .with { $0.filename = tls.caCertificates } }
    if !tls.caCrl.isEmpty { own.crl = .with { $0.filename = tls.caCrl } }
    context.commonTlsContext.validationContext = own
  }

  private static func version(
    _ wanted: Settings.TLSProtocol
  ) -> Envoy_Extensions_TransportSockets_Tls_V3_TlsParameters.TlsProtocol? {
    switch wanted {
    case .tlsv10: .tlsv10
    case .tlsv11: .tlsv11
    case .tlsv12: .tlsv12
    case .tlsv13: .tlsv13
    case .tlsAuto, .UNRECOGNIZED: nil
    }
  }
}
