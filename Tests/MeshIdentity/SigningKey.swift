import COpenSSL

@testable import MeshIdentity

/// A key that signs JSON web tokens, for tests.
final class SigningKey {
  let key: OpaquePointer
  let isRSA: Bool
  let id: String

  init(isRSA: Bool, id: String) {
    guard let key = fl_tls_new_key(isRSA ? 1 : 0) else { preconditionFailure("a key can be made") }
    self.key = key
    self.isRSA = isRSA
    self.id = id
  }

  deinit { EVP_PKEY_free(key) }

  private func number(_ name: String, _ count: Int) -> String {
    var number: OpaquePointer?
    EVP_PKEY_get_bn_param(key, name, &number)
    var bytes = [UInt8](repeating: 0, count: count)
    BN_bn2binpad(number, &bytes, Int32(count))
    BN_free(number)
    return Base64URL.encode(bytes)
  }

  /// As an issuer publishes it.
  var jwk: String {
    isRSA
      ? #"{"kty":"RSA","use":"sig","alg":"RS256","kid":"\#(id)","n":"\#(number("n", 256))","#
        + #""e":"AQAB"}"#
      : #"{"kty":"EC","crv":"P-256","kid":"\#(id)","x":"\#(number("qx", 32))","#
        + #""y":"\#(number("qy", 32))"}"#
  }

  func sign(_ text: String) -> [UInt8] {
    let context = EVP_MD_CTX_new()
    defer { EVP_MD_CTX_free(context) }
    EVP_DigestSignInit(context, nil, EVP_sha256(), nil, key)
    let bytes = Array(text.utf8)
    var count = 0
    EVP_DigestSign(context, nil, &count, bytes, bytes.count)
    var out = [UInt8](repeating: 0, count: count)
    EVP_DigestSign(context, &out, &count, bytes, bytes.count)
    out = Array(out.prefix(count))
    guard !isRSA else { return out }
    return out.withUnsafeBufferPointer { buffer in
      var base = buffer.baseAddress
      let signature = d2i_ECDSA_SIG(nil, &base, buffer.count)
      defer { ECDSA_SIG_free(signature) }
      var raw = [UInt8](repeating: 0, count: 64)
      raw.withUnsafeMutableBufferPointer {
        BN_bn2binpad(ECDSA_SIG_get0_r(signature), $0.baseAddress, 32)
        BN_bn2binpad(ECDSA_SIG_get0_s(signature), $0.baseAddress! + 32, 32)
      }
      return raw
    }
  }

  /// A token with these claims, in JSON.
  func token(_ claims: String, algorithm: String? = nil, kid: String? = nil) -> String {
    let named = algorithm ?? (isRSA ? "RS256" : "ES256")
    let head = #"{"alg":"\#(named)","typ":"JWT","kid":"\#(kid ?? id)"}"#
    let text =
      Base64URL.encode(Array(head.utf8)) + "." + Base64URL.encode(Array(claims.utf8))
    return text + "." + Base64URL.encode(sign(text))
  }
}
