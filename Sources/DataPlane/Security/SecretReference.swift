import ResourceModel
import Resources

/// A secret that comes by itself: what it is called, and where it comes from. Whoever says the same
/// shares it.
struct SecretKey: Hashable {
  let name: String
  let source: Envoy_Config_Core_V3_ConfigSource

  /// It comes from a file.
  var isFile: Bool {
    if case .pathConfigSource? = source.configSourceSpecifier { true } else { false }
  }
}

/// A secret that a TLS configuration takes by name.
struct SecretReference {
  enum Kind {
    case certificate
    case validation
  }

  let name: String
  let kind: Kind
  /// nil: it is one of the bootstrap's.
  let key: SecretKey?
  let path: ConfigPath

  fileprivate init(
    _ config: Envoy_Extensions_TransportSockets_Tls_V3_SdsSecretConfig, _ kind: Kind,
    at path: ConfigPath
  ) {
    name = config.name
    self.kind = kind
    key = config.hasSdsConfig ? SecretKey(name: config.name, source: config.sdsConfig) : nil
    self.path = path
  }

  /// A secret is what the reference asks for.
  func fits(_ secret: Envoy_Extensions_TransportSockets_Tls_V3_Secret) -> Bool {
    switch (kind, secret.type) {
    case (.certificate, .tlsCertificate?), (.validation, .validationContext?): true
    default: false
    }
  }

  /// What it asks for, for people.
  var wanted: String { kind == .certificate ? "a tls_certificate" : "a validation_context" }
}

extension TLSCompiler.Common {
  /// What it takes by name.
  func secrets(at path: ConfigPath) -> [SecretReference] {
    let certificates = path.field("tls_certificate_sds_secret_configs")
    var all = tlsCertificateSdsSecretConfigs.enumerated().map { index, config in
      SecretReference(config, .certificate, at: certificates.index(index))
    }
    let field = "validation_context_sds_secret_config"
    switch validationContextType {
    case .validationContextSdsSecretConfig(let config):
      all.append(SecretReference(config, .validation, at: path.field(field)))
    case .combinedValidationContext(let combined):
      all.append(
        SecretReference(
          combined.validationContextSdsSecretConfig, .validation,
          at: path.field("combined_validation_context").field(field)))
    case .validationContext, nil: break
    }
    return all
  }

  /// The same as if the secrets had been written in it. In the order of `secrets(at:)`, each fits.
  func filled(with secrets: [Envoy_Extensions_TransportSockets_Tls_V3_Secret]) -> Self {
    var whole = self
    let count = tlsCertificateSdsSecretConfigs.count
    whole.tlsCertificates += secrets.prefix(count).map(\.tlsCertificate)
    whole.tlsCertificateSdsSecretConfigs = []
    guard let last = secrets.dropFirst(count).first else { return whole }
    var validation = last.validationContext
    if case .combinedValidationContext(let combined)? = validationContextType {
      validation = combined.defaultValidationContext
      // As protobuf merges messages: single fields of the secret count, and lists are joined.
      if let bytes: [UInt8] = try? last.validationContext.serializedBytes() {
        try? validation.merge(serializedBytes: bytes)
      }
    }
    whole.validationContext = validation
    return whole
  }
}

/// Where the parts of a common TLS context are configured, whether they stand there or come by name.
struct TLSPartPlaces {
  let common: ConfigPath
  private let message: TLSCompiler.Common

  /// - Parameter message: as it was written.
  init(_ message: TLSCompiler.Common, at path: ConfigPath) {
    self.message = message
    common = path
  }

  func certificate(_ index: Int) -> ConfigPath {
    let isNamed = !message.tlsCertificateSdsSecretConfigs.isEmpty
    return common.field(isNamed ? "tls_certificate_sds_secret_configs" : "tls_certificates")
      .index(index)
  }

  var validation: ConfigPath {
    switch message.validationContextType {
    case .validationContextSdsSecretConfig:
      common.field("validation_context_sds_secret_config")
    case .combinedValidationContext: common.field("combined_validation_context")
    case .validationContext, nil: common.field("validation_context")
    }
  }
}
