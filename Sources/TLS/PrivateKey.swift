import COpenSSL

/// A private key that we made, or that somebody gave us.
@safe
package final class PrivateKey: @unchecked Sendable {
  // `@unchecked`: made once and only read; OpenSSL's own counts are atomic.
  let raw: OpaquePointer

  package enum Kind: Sendable {
    /// ECDSA over P-256: what every TLS library signs with fastest.
    case p256
    case rsa2048
  }

  /// A new one; nil when out of memory, or of randomness.
  package init?(_ kind: Kind) {
    guard let key = unsafe fl_tls_new_key(kind == .rsa2048 ? 1 : 0) else {
      OpenSSLErrors.clear()
      return nil
    }
    unsafe raw = key
  }

  /// The first key of a PEM text.
  package init?(pem: [UInt8]) {
    guard let key = unsafe PEM.privateKey(pem, password: nil) else {
      OpenSSLErrors.clear()
      return nil
    }
    unsafe raw = key
  }

  deinit { unsafe EVP_PKEY_free(raw) }

  /// As PKCS #8, without a password.
  package var pem: [UInt8] {
    unsafe PEM.written {
      unsafe PEM_write_bio_PKCS8PrivateKey($0, raw, nil, nil, 0, nil, nil) == 1
    } ?? []
  }
}

extension PEM {
  /// What is written into memory that is lent; nil when that fails.
  static func written(_ body: (OpaquePointer) -> Bool) -> [UInt8]? {
    guard let bio = unsafe BIO_new(BIO_s_mem()) else { return nil }
    defer { unsafe BIO_free(bio) }
    guard unsafe body(bio) else {
      OpenSSLErrors.clear()
      return nil
    }
    var base: UnsafeMutablePointer<CChar>?
    let count = unsafe fl_tls_memory_bytes(bio, &base)
    guard count > 0, let base = unsafe base else { return nil }
    return (0..<count).map { UInt8(bitPattern: unsafe base[$0]) }
  }
}

/// Random bytes that nobody can foresee.
package enum SecureRandom {
  /// Empty when there are none to be had.
  package static func bytes(_ count: Int) -> [UInt8] {
    var out = [UInt8](repeating: 0, count: count)
    guard unsafe RAND_bytes(&out, Int32(clamping: count)) == 1 else {
      OpenSSLErrors.clear()
      return []
    }
    return out
  }
}
