import COpenSSL

/// Somebody's public key, which their signatures are checked with.
@safe
package final class PublicKey: @unchecked Sendable {
  // `@unchecked`: made once and only read; OpenSSL's own counts are atomic.
  private let raw: OpaquePointer
  /// Coordinates of a point on P-256, and halves of its signatures, in bytes.
  package static let p256Bytes = 32
  private let isRSA: Bool

  /// An RSA key: modulus and exponent, the highest byte first. Nil when they are no key, or one that is
  /// too weak or too costly.
  package init?(rsaModulus: [UInt8], exponent: [UInt8]) {
    guard (256...512).contains(rsaModulus.count), (1...8).contains(exponent.count),
      let key = unsafe fl_tls_rsa_key(rsaModulus, rsaModulus.count, exponent, exponent.count)
    else {
      OpenSSLErrors.clear()
      return nil
    }
    unsafe raw = key
    isRSA = true
  }

  /// A point on P-256. Nil when it is none.
  package init?(p256X: [UInt8], y: [UInt8]) {
    guard p256X.count == Self.p256Bytes, y.count == Self.p256Bytes,
      let key = unsafe fl_tls_p256_key([4] + p256X + y, 1 + 2 * Self.p256Bytes)
    else {
      OpenSSLErrors.clear()
      return nil
    }
    unsafe raw = key
    isRSA = false
  }

  deinit { unsafe EVP_PKEY_free(raw) }

  /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 §3.3); false for keys of another kind.
  package func verifiesRS256(_ signature: [UInt8], of message: [UInt8]) -> Bool {
    isRSA && verifies(signature, of: message)
  }

  /// ECDSA with P-256 and SHA-256, the two numbers one behind the other (RFC 7518 §3.4).
  package func verifiesES256(_ signature: [UInt8], of message: [UInt8]) -> Bool {
    guard !isRSA, signature.count == 2 * Self.p256Bytes else { return false }
    var der: UnsafeMutablePointer<UInt8>?
    let count = unsafe fl_tls_ecdsa_signature(signature, Int32(Self.p256Bytes), &der)
    guard count > 0, let der = unsafe der else {
      OpenSSLErrors.clear()
      return false
    }
    defer { unsafe CRYPTO_free(der, "", 0) }
    return verifies(unsafe Array(UnsafeBufferPointer(start: der, count: Int(count))), of: message)
  }

  private func verifies(_ signature: [UInt8], of message: [UInt8]) -> Bool {
    defer { OpenSSLErrors.clear() }
    guard let context = unsafe EVP_MD_CTX_new() else { return false }
    defer { unsafe EVP_MD_CTX_free(context) }
    guard unsafe EVP_DigestVerifyInit(context, nil, EVP_sha256(), nil, raw) == 1 else {
      return false
    }
    return unsafe EVP_DigestVerify(
      context, signature, signature.count, message, message.count) == 1
  }
}
