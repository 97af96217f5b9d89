import COpenSSL

/// What a verification came to; the numbers are kept in the session's link.
package enum TLSVerification: UInt8, Sendable {
  /// There was nothing to verify, or nothing to verify it against.
  case none = 0
  case verified = 1
  case chainFailed = 2
  case nameFailed = 3
  case digestFailed = 4
}

/// Decides whether a peer's certificate will do: chain, then names, then pins, each of which has its
/// own counter.
final class Validation: Sendable {
  private let names: [TLSNameMatcher]
  private let certificateDigests: [[UInt8]]
  private let keyDigests: [[UInt8]]
  private let verifiesChain: Bool
  private let acceptsUntrusted: Bool

  init(_ options: TLSValidation) {
    names = options.names
    certificateDigests = options.certificateDigests
    keyDigests = options.keyDigests
    verifiesChain = options.trustedCA != nil
    acceptsUntrusted = options.acceptsUntrusted
  }

  /// There is something to verify a certificate against.
  var demandsAnything: Bool {
    verifiesChain || !names.isEmpty || !certificateDigests.isEmpty || !keyDigests.isEmpty
  }

  /// Has `context` verify peers with its state's rules.
  static func install(on context: OpaquePointer) {
    unsafe SSL_CTX_set_cert_verify_callback(
      context,
      { store, _ in
        guard let store = unsafe store, let ssl = unsafe fl_tls_verified_session(store) else {
          return 0
        }
        return unsafe Validation.verify(store, for: ssl) ? 1 : 0
      }, nil)
  }

  private static func verify(_ store: OpaquePointer, for ssl: OpaquePointer) -> Bool {
    guard let link = unsafe fl_tls_link_of(ssl), let state = unsafe TLSContext.State.of(ssl) else {
      return false
    }
    let isClient = unsafe SSL_is_server(ssl) == 0
    // A client that matches names asks by the name it sent.
    let asked =
      isClient && (unsafe link.pointee.matches_name != 0)
      ? unsafe CertificateChoice.serverName(of: ssl) : nil
    let required = unsafe required(link)
    guard let rules = state.validation else {
      guard asked != nil || !required.isEmpty else { return true }
      let isNamed = unsafe named(asked, required, store)
      let outcome: TLSVerification = isNamed ? .verified : .nameFailed
      return unsafe finish(outcome, link, store, accepts: false)
    }
    let outcome = unsafe rules.judge(store, link, asked: asked, required: required)
    return unsafe finish(outcome, link, store, accepts: rules.acceptsUntrusted)
  }

  /// What the link demands of the certificate's names; empty: nothing.
  static func required(_ link: UnsafeMutablePointer<fl_tls_link>) -> [UInt8] {
    guard let base = unsafe link.pointee.required_name else { return [] }
    return unsafe Array(UnsafeBufferPointer(start: base, count: link.pointee.required_count))
  }

  private static func named(
    _ asked: [UInt8]?, _ required: [UInt8], _ store: OpaquePointer
  ) -> Bool {
    guard let leaf = unsafe X509_STORE_CTX_get0_cert(store) else { return false }
    return unsafe CertificateNames(of: leaf).answer(to: asked, and: required)
  }

  private static func finish(
    _ outcome: TLSVerification, _ link: UnsafeMutablePointer<fl_tls_link>, _ store: OpaquePointer,
    accepts: Bool
  ) -> Bool {
    unsafe link.pointee.verification = outcome.rawValue
    let isGood = outcome == .none || outcome == .verified
    // The session keeps this, and whoever resumes it is what it was. It also chooses the alert.
    if isGood {
      unsafe X509_STORE_CTX_set_error(store, X509_V_OK)
    } else if outcome != .chainFailed {
      unsafe X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION)
    }
    return isGood || accepts
  }

  private func judge(
    _ store: OpaquePointer, _ link: UnsafeMutablePointer<fl_tls_link>, asked: [UInt8]?,
    required: [UInt8]
  ) -> TLSVerification {
    guard let leaf = unsafe X509_STORE_CTX_get0_cert(store) else { return .chainFailed }
    var verified = false
    if verifiesChain {
      guard unsafe X509_verify_cert(store) == 1 else {
        unsafe link.pointee.verify_error = X509_STORE_CTX_get_error(store)
        unsafe link.pointee.verify_depth = X509_STORE_CTX_get_error_depth(store)
        return .chainFailed
      }
      verified = true
    }
    if asked != nil || !required.isEmpty || !names.isEmpty {
      let found = unsafe CertificateNames(of: leaf)
      guard found.answer(to: asked, and: required) else { return .nameFailed }
      if !names.isEmpty, !names.contains(where: { found.match($0) }) { return .nameFailed }
      verified = true
    }
    if !certificateDigests.isEmpty || !keyDigests.isEmpty {
      guard unsafe isPinned(leaf) else { return .digestFailed }
      verified = true
    }
    return verified ? .verified : .none
  }

  private func isPinned(_ leaf: OpaquePointer) -> Bool {
    if !certificateDigests.isEmpty,
      certificateDigests.contains(unsafe CertificateFacts.digest(of: leaf))
    {
      return true
    }
    return unsafe !keyDigests.isEmpty && keyDigests.contains(CertificateFacts.keyDigest(of: leaf))
  }
}
