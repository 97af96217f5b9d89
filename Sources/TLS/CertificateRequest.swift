import COpenSSL

/// Somebody's wish for a certificate (PKCS #10, RFC 2986). Only its key is of interest: the names that it
/// asks for prove nothing.
@safe
package final class CertificateRequest {
  let raw: OpaquePointer
  let key: OpaquePointer

  /// Why a request is refused.
  package enum Failure: Error, Equatable {
    case unreadable
    /// It was not signed with the key that it carries: whoever sent it may not have that key.
    case badSignature
    /// Its key is of a kind, or of a size, that is not to be trusted, or that costs too much to check.
    case unfitKey

    package var description: String {
      switch self {
      case .unreadable: "is no certificate request in PEM"
      case .badSignature: "is not signed with its own key"
      case .unfitKey:
        "has a key that is neither RSA of 2048 to 4096 bits, nor ECDSA over P-256, "
          + "P-384 or P-521, nor Ed25519"
      }
    }
  }

  /// Reads the first request of a text, and checks its signature.
  package init(pem: [UInt8]) throws(Failure) {
    OpenSSLErrors.clear()
    defer { OpenSSLErrors.clear() }
    var request: OpaquePointer?
    unsafe PEM.withMemory(pem) { bio in
      unsafe request = PEM_read_bio_X509_REQ(bio, nil, nil, nil)
    }
    guard let request = unsafe request else { throw .unreadable }
    guard let key = unsafe X509_REQ_get0_pubkey(request) else {
      unsafe X509_REQ_free(request)
      throw .unfitKey
    }
    unsafe self.raw = request
    unsafe self.key = key
    // The key first: checking a signature with an outlandish one may take long.
    guard isKeyFit else { throw .unfitKey }
    guard unsafe X509_REQ_verify(request, key) == 1 else { throw .badSignature }
  }

  deinit { unsafe X509_REQ_free(raw) }

  private var isKeyFit: Bool {
    switch unsafe EVP_PKEY_get_base_id(key) {
    case EVP_PKEY_RSA: return unsafe (2048...4096).contains(EVP_PKEY_get_bits(key))
    case EVP_PKEY_EC: return unsafe fl_tls_has_common_curve(key) == 1
    case EVP_PKEY_ED25519: return true
    default: return false
    }
  }

  /// A request for a key of ours, in PEM; nil when out of memory.
  /// - Parameter uri: the name that it asks for; empty: none.
  package static func make(for key: PrivateKey, uri: String = "") -> [UInt8]? {
    guard let request = unsafe X509_REQ_new() else { return nil }
    defer { unsafe X509_REQ_free(request) }
    guard unsafe X509_REQ_set_pubkey(request, key.raw) == 1,
      unsafe ask(request, for: uri),
      unsafe X509_REQ_sign(request, key.raw, EVP_sha256()) > 0
    else {
      OpenSSLErrors.clear()
      return nil
    }
    return unsafe PEM.written { unsafe PEM_write_bio_X509_REQ($0, request) == 1 }
  }

  private static func ask(_ request: OpaquePointer, for uri: String) -> Bool {
    guard !uri.isEmpty else { return true }
    guard let names = unsafe fl_tls_names() else { return false }
    defer { unsafe GENERAL_NAMES_free(names) }
    let added = unsafe fl_tls_names_add(
      names, GEN_URI, Array(uri.utf8), Int32(clamping: uri.utf8.count))
    return unsafe added == 1 && fl_tls_request_names(request, names) == 1
  }
}
