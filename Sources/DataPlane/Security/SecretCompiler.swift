import ResourceModel
import Resources
import TLS

/// Looks whether a secret is one: what it holds can be read, and fits together.
struct SecretCompiler {
  typealias Secret = Envoy_Extensions_TransportSockets_Tls_V3_Secret

  let diagnostics: Diagnostics

  /// The secrets of the bootstrap, by name.
  func compile(_ secrets: [Secret], at path: ConfigPath) -> [String: Secret] {
    var all: [String: Secret] = [:]
    for (index, secret) in secrets.enumerated() {
      let place = path.index(index)
      check(secret, at: place)
      if all.updateValue(secret, forKey: secret.name) != nil {
        diagnostics.error(
          at: place.field("name"), "there is already a secret '\(secret.name)'")
      }
    }
    return all
  }

  /// Reports what is wrong with a secret by itself.
  func check(_ secret: Secret, at path: ConfigPath) {
    let compiler = TLSCompiler(diagnostics: diagnostics)
    switch secret.type {
    case .tlsCertificate(let message):
      let place = path.field("tls_certificate")
      guard let certificate = compiler.read(message, at: place) else { return }
      var options = TLSOptions(.server(TLSServerOptions()))
      options.certificates = [certificate]
      build(options, at: place)
    case .validationContext(let message):
      // Without authorities it may still add to a context that has some.
      guard message.hasTrustedCa else { return }
      let place = path.field("validation_context")
      guard let validation = compiler.read(message, at: place) else { return }
      var options = TLSOptions(.client(TLSClientOptions()))
      options.validation = validation
      build(options, at: place)
    case nil:
      guard !diagnostics.hasError(at: path) else { return }
      diagnostics.error(at: path, "expected a tls_certificate or a validation_context")
    }
  }

  private func build(_ options: TLSOptions, at path: ConfigPath) {
    do throws(TLSContextError) {
      _ = try TLSContext(options)
    } catch {
      diagnostics.error(at: error.part.path(inSecret: path), error.message)
    }
  }
}

extension TLSContextError.Part {
  fileprivate func path(inSecret path: ConfigPath) -> ConfigPath {
    switch self {
    case .certificate: path.field("certificate_chain")
    case .key: path.field("private_key")
    case .trustedCA: path.field("trusted_ca")
    case .revocationLists: path.field("crl")
    case .ciphers, .curves, .signatureAlgorithms, .versions, .protocols, .memory: path
    }
  }
}
