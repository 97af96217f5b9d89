import COpenSSL

/// A certificate with its chain and key, as OpenSSL has them.
@safe
final class LoadedCertificate: @unchecked Sendable {
  // `@unchecked`: made once and only read; OpenSSL's own counts are atomic.
  let leaf: OpaquePointer
  let chain: OpaquePointer
  let key: OpaquePointer
  let names: CertificateNames

  private init(leaf: OpaquePointer, chain: OpaquePointer, key: OpaquePointer) {
    unsafe self.leaf = leaf
    unsafe self.chain = chain
    unsafe self.key = key
    names = unsafe CertificateNames(of: leaf)
  }

  deinit {
    // SAFETY: this object owns one reference to each.
    unsafe X509_free(leaf)
    unsafe fl_tls_certificates_free(chain)
    unsafe EVP_PKEY_free(key)
  }

  /// Reads both, and checks that they belong together.
  static func load(
    _ source: TLSCertificate, index: Int
  ) throws(TLSContextError) -> LoadedCertificate {
    OpenSSLErrors.clear()
    let list = unsafe PEM.certificates(source.chain)
    guard let first = unsafe list.first else {
      throw TLSContextError(.certificate(index), "no certificate in it: \(OpenSSLErrors.take())")
    }
    guard let chain = unsafe fl_tls_certificates() else {
      throw TLSContextError(.memory, "out of memory")
    }
    for index in unsafe list.indices.dropFirst() {
      unsafe _ = fl_tls_certificates_add(chain, list[index])
      unsafe X509_free(list[index])
    }
    OpenSSLErrors.clear()
    guard let key = unsafe PEM.privateKey(source.key, password: source.password) else {
      unsafe X509_free(first)
      unsafe fl_tls_certificates_free(chain)
      throw TLSContextError(.key(index), "no private key in it: \(OpenSSLErrors.take())")
    }
    let loaded = unsafe LoadedCertificate(leaf: first, chain: chain, key: key)
    OpenSSLErrors.clear()
    guard unsafe X509_check_private_key(first, key) == 1 else {
      OpenSSLErrors.clear()
      throw TLSContextError(.key(index), "does not belong to the certificate")
    }
    return loaded
  }

  /// Keys of different types can serve one name: the client's abilities decide.
  var keyType: Int32 { unsafe EVP_PKEY_get_base_id(key) }
}

/// Texts between `-----BEGIN` and `-----END`.
enum PEM {
  /// All certificates of a text, in order; the caller owns them.
  static func certificates(_ text: [UInt8]) -> [OpaquePointer] {
    var list: [OpaquePointer] = unsafe []
    unsafe withMemory(text) { bio in
      while let one = unsafe PEM_read_bio_X509(bio, nil, nil, nil) { unsafe list.append(one) }
    }
    return unsafe list
  }

  /// The first private key of a text; the caller owns it.
  static func privateKey(_ text: [UInt8], password: [UInt8]?) -> OpaquePointer? {
    // Without a callback OpenSSL would ask at the terminal; with one and no password it is told "".
    var secret = (password ?? []) + [0]
    var key: OpaquePointer?
    unsafe withMemory(text) { bio in
      unsafe secret.withUnsafeMutableBufferPointer { buffer in
        unsafe key = PEM_read_bio_PrivateKey(
          bio, nil,
          { out, capacity, _, context in
            guard let out = unsafe out, let context = unsafe context else { return -1 }
            // SAFETY: `context` is the zero-terminated password; `out` holds `capacity` bytes.
            let length = unsafe strlen(context.assumingMemoryBound(to: CChar.self))
            guard length <= Int(capacity) else { return -1 }
            unsafe memcpy(out, context, length)
            return Int32(length)
          }, buffer.baseAddress)
      }
    }
    return unsafe key
  }

  /// Lends the text as OpenSSL reads it.
  static func withMemory(_ text: [UInt8], _ body: (OpaquePointer) -> Void) {
    unsafe text.withUnsafeBytes { buffer in
      guard let base = buffer.baseAddress, buffer.count <= Int(Int32.max),
        let bio = unsafe fl_tls_memory(base, Int32(buffer.count))
      else { return }
      unsafe body(bio)
      unsafe BIO_free(bio)
    }
  }
}
