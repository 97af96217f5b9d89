import MeshMessages
import MeshModel
import Resources
import TLS

/// What is wrong with a Secret that holds a certificate: nobody is to be given a pair that does not fit.
/// Nothing of what is in it is told.
struct SecretCheck {
  let check: FieldCheck

  func check(_ secret: Kubernetes_Secret) {
    let isTLS = secret.type == "kubernetes.io/tls"
    let material = SecretMaterial(secret)
    let path = ConfigPath.root[secret.data.isEmpty ? "stringData" : "data"]
    if isTLS, !material.isPair {
      check.error(path, "a Secret of type kubernetes.io/tls has 'tls.crt' and 'tls.key'")
    }
    // Others may keep what they like under these names.
    let isPEM = String(decoding: material.chain.prefix(4096), as: UTF8.self).contains("-----BEGIN")
    guard material.isPair, isTLS || isPEM else { return }
    if let problem = CertificatePair.problem(chain: material.chain, key: material.key) {
      check.error(path, problem)
    }
  }
}
