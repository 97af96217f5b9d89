import COpenSSL

extension CertificateFacts {
  /// What the certificates of a text tell, in order; none where it has none.
  package static func read(pem text: [UInt8]) -> [CertificateFacts] {
    // SAFETY: the list's certificates are ours, and freed here after their last use.
    let list = unsafe PEM.certificates(text)
    defer {
      for index in unsafe list.indices { unsafe X509_free(list[index]) }
    }
    // Where the text ended, OpenSSL noted that no further certificate begins.
    OpenSSLErrors.clear()
    return unsafe list.map { unsafe CertificateFacts(of: $0) }
  }
}
