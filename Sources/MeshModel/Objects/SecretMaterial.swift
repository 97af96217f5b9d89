import MeshMessages

/// What a Secret holds for TLS, under the names that Kubernetes and Istio have for it. All of it in PEM, and
/// empty where there is none.
package struct SecretMaterial: Sendable, Equatable {
  /// A certificate and what leads to a root.
  package private(set) var chain: [UInt8] = []
  package private(set) var key: [UInt8] = []
  /// Who signs for those who are to be believed.
  package private(set) var trusted: [UInt8] = []
  /// What of that was taken back.
  package private(set) var revoked: [UInt8] = []

  /// Of two names Istio's own is looked for first, as Istio does.
  package init(_ secret: Kubernetes_Secret) {
    func value(_ name: String) -> [UInt8] {
      // Kubernetes writes `stringData` over `data` when it takes an object.
      if let text = secret.stringData[name] { return Array(text.utf8) }
      return secret.data[name].map { Array($0) } ?? []
    }
    func either(_ first: [UInt8], _ second: [UInt8]) -> [UInt8] { first.isEmpty ? second : first }
    let generic = (chain: value("cert"), key: value("key"))
    let isGeneric = !generic.chain.isEmpty && !generic.key.isEmpty
    (chain, key) = isGeneric ? generic : (value("tls.crt"), value("tls.key"))
    trusted = either(value("cacert"), value("ca.crt"))
    revoked = value("ca.crl")
  }

  /// Somebody can show it.
  package var isPair: Bool { !chain.isEmpty && !key.isEmpty }
}
