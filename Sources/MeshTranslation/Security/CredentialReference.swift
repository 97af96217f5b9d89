import ResourceModel

/// Certificates that a rule names by their Secret (`credentialName`), as proxies ask for them: by Istio's
/// names, of the control plane.
package struct CredentialReference: Hashable, Sendable {
  /// Of the Secret.
  package let name: String
  /// Whom to believe, and not what to show.
  package let isTrust: Bool

  private static let scheme = "kubernetes://"
  private static let trustSuffix = "-cacert"

  init(_ name: String, isTrust: Bool = false) {
    self.name = name
    self.isTrust = isTrust
  }

  /// Reads what a proxy asks for; nil when it is nothing of the kind.
  package init?(resource: String) {
    guard resource.hasPrefix(Self.scheme) else { return nil }
    let rest = resource.dropFirst(Self.scheme.count)
    guard !rest.isEmpty else { return nil }
    isTrust = rest.hasSuffix(Self.trustSuffix)
    name = String(isTrust ? rest.dropLast(Self.trustSuffix.count) : rest)
  }

  /// The same of another Secret.
  package func renamed(_ name: String) -> Self { Self(name, isTrust: isTrust) }

  /// What the secret is called on the wire.
  package var resource: String { Self.scheme + name + (isTrust ? Self.trustSuffix : "") }

  /// The Secrets in which it may be, the first that has it counting: whom to believe may be in one of its
  /// own, `<name>-cacert`.
  package var secrets: [String] { isTrust ? [name + Self.trustSuffix, name] : [name] }

  var config: MeshTLS.SecretConfig {
    .with {
      $0.name = resource
      // A Secret may not be there yet: with the proxy's own patience, which ends, the other certificates of
      // a port do not wait for it forever (Istio leaves it out as well).
      $0.sdsConfig = .with {
        $0.ads = .init()
        $0.resourceApiVersion = .v3
      }
    }
  }
}
