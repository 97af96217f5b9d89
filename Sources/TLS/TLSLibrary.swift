import COpenSSL

/// The library that speaks TLS.
package enum TLSLibrary {
  /// Its name and version, of the copy that is in the process: `OpenSSL 3.0.17`.
  package static var version: String {
    let text = unsafe OpenSSL_version(OPENSSL_VERSION_STRING).map { unsafe String(cString: $0) }
    return "OpenSSL \(text ?? "unknown")"
  }
}
