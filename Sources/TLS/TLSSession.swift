import COpenSSL

/// What a step of a session came to.
package enum TLSOutcome: Equatable, Sendable {
  /// Done, with so many bytes of plain text (0 for a handshake).
  case done(Int)
  /// Not before the socket has something to read.
  case waitForRead
  /// Not before the socket takes something.
  case waitForWrite
  /// The peer has said goodbye: there will be no more, and nothing is missing.
  case end
  /// It is broken, and `failureText` says why. An end without a goodbye is one of these.
  case failed
}

/// One TLS connection over a descriptor that it does not own. It is driven by whoever watches the
/// descriptor, on one thread.
///
/// Reading and writing can each wait for the other direction: the outcome says for which.
@safe
package struct TLSSession: ~Copyable {
  // SAFETY: both are made by `init` and freed by `deinit`; `link` outlives `ssl`, which refers to it.
  private let ssl: OpaquePointer
  private let link: UnsafeMutablePointer<fl_tls_link>
  private let cache: SessionCache?
  /// Why it failed, in words; empty while it has not.
  package private(set) var failureText = ""
  /// The first of OpenSSL's reasons: what counters tell apart.
  private var failureReason: Int32 = 0
  /// Reading has something to say first (a key update), which the socket did not take.
  private var readWaitsForWrite = false
  private var saidGoodbye = false
  /// The last read met the end behind the bytes that it gave.
  private var hasUntoldEnd = false

  private nonisolated(unsafe) static let method = unsafe fl_tls_link_method()

  private init?(_ context: TLSContext, fd: Int32, cache: SessionCache?) {
    guard let method = unsafe Self.method else { return nil }
    let link = UnsafeMutablePointer<fl_tls_link>.allocate(capacity: 1)
    unsafe link.initialize(to: fl_tls_link())
    unsafe link.pointee.fd = fd
    guard let ssl = unsafe fl_tls_session(context.raw, method, link) else {
      OpenSSLErrors.clear()
      unsafe link.deallocate()
      return nil
    }
    unsafe self.ssl = ssl
    unsafe self.link = link
    self.cache = cache
  }

  /// The server's end of a connection; nil when out of memory.
  package static func server(_ context: TLSContext, fd: Int32) -> TLSSession? {
    guard let session = TLSSession(context, fd: fd, cache: nil) else { return nil }
    unsafe SSL_set_accept_state(session.ssl)
    return session
  }

  /// The client's end; nil when out of memory, or when the name is longer than TLS carries.
  /// - Parameters:
  ///   - name: whom to ask for (SNI); empty asks for nobody.
  ///   - matchesName: the certificate has to name it.
  ///   - required: the certificate has to carry this, as a name of any kind; empty: nothing.
  ///   - offer: what to ask for by ALPN where the context names nothing, as it is sent.
  ///   - protocols: what to ask for by ALPN in place of the context's protocols, as it is sent.
  ///   - cache: sessions to resume, and where new ones go.
  package static func client(
    _ context: TLSContext, fd: Int32, name: String, matchesName: Bool = false,
    required: [UInt8] = [], offer: [UInt8] = [], protocols: [UInt8]? = nil,
    cache: SessionCache? = nil
  ) -> TLSSession? {
    guard let session = TLSSession(context, fd: fd, cache: cache) else { return nil }
    unsafe SSL_set_connect_state(session.ssl)
    if !name.isEmpty, unsafe fl_tls_set_server_name(session.ssl, name) != 1 {
      OpenSSLErrors.clear()
      return nil
    }
    if !required.isEmpty { session.require(required) }
    unsafe session.link.pointee.matches_name = matchesName ? 1 : 0
    let isNamed = unsafe TLSContext.State.of(session.ssl).map { !$0.protocols.isEmpty } ?? false
    if let protocols = protocols ?? (isNamed || offer.isEmpty ? nil : offer) {
      unsafe _ = SSL_set_alpn_protos(session.ssl, protocols, UInt32(protocols.count))
    }
    if let cache {
      unsafe session.link.pointee.sessions = Unmanaged.passUnretained(cache).toOpaque()
      unsafe cache.offer(to: session.ssl, name: name, required: required)
    }
    return session
  }

  /// SAFETY: the memory is written once, before the handshake, and freed behind the SSL object.
  private func require(_ name: [UInt8]) {
    let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: name.count)
    unsafe memory.initialize(from: name, count: name.count)
    unsafe link.pointee.required_name = memory
    unsafe link.pointee.required_count = name.count
  }

  deinit {
    // A connection that is dropped in mid-air is no reason to distrust its session; without this
    // OpenSSL would mark it so.
    if failureText.isEmpty || failureText == Self.earlyEnd {
      unsafe SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN)
    }
    unsafe SSL_free(ssl)
    unsafe link.pointee.required_name?.deallocate()
    unsafe link.deallocate()
  }

  // MARK: Driving

  /// The socket may have more: reading asks it again.
  /// - Parameter hungUp: it will announce nothing further.
  package func wake(hungUp: Bool) {
    unsafe link.pointee.drained = 0
    if hungUp { unsafe link.pointee.hung_up = 1 }
  }

  /// Takes the handshake as far as it goes now.
  package mutating func handshake() -> TLSOutcome {
    OpenSSLErrors.clear()
    let result = unsafe SSL_do_handshake(ssl)
    return result == 1 ? .done(0) : outcome(of: result)
  }

  /// Reads plain text, as much as is there and fits.
  package mutating func read(
    into memory: UnsafeMutablePointer<UInt8>, capacity: Int
  ) -> TLSOutcome {
    hasUntoldEnd = false
    guard failureText.isEmpty else { return .failed }
    OpenSSLErrors.clear()
    var count = 0
    while count < capacity {
      var taken = 0
      let result = unsafe SSL_read_ex(ssl, memory + count, capacity &- count, &taken)
      guard result == 1 else {
        let outcome = outcome(of: result)
        readWaitsForWrite = outcome == .waitForWrite
        // What came before the end is delivered first; the end is found again at the next call.
        guard count > 0 else { return outcome }
        hasUntoldEnd = outcome == .end || outcome == .failed
        return .done(count)
      }
      count &+= taken
      guard mayRead else { break }
    }
    return .done(count)
  }

  /// Reading again may bring something without the socket's saying so.
  package var mayRead: Bool {
    unsafe readWaitsForWrite || hasUntoldEnd || link.pointee.drained == 0
      || SSL_has_pending(ssl) == 1
  }

  /// Writes plain text: `done` says how much was taken. After `waitForWrite` the same bytes have to be
  /// offered again, at the same length or more.
  package mutating func write(_ memory: UnsafePointer<UInt8>, count: Int) -> TLSOutcome {
    OpenSSLErrors.clear()
    var written = 0
    let result = unsafe SSL_write_ex(ssl, memory, count, &written)
    return result == 1 ? .done(written) : outcome(of: result)
  }

  /// Says goodbye, once; the peer's answer is not waited for. False when the socket did not take it:
  /// to be called again.
  package mutating func shutdown() -> Bool {
    // Within a handshake, or after a failure, there is no goodbye to say.
    guard !saidGoodbye, unsafe SSL_is_init_finished(ssl) == 1,
      failureText.isEmpty || endedWithoutGoodbye
    else { return true }
    OpenSSLErrors.clear()
    let result = unsafe SSL_shutdown(ssl)
    // A second call would look for the peer's goodbye, and stumble over what it still has to say.
    saidGoodbye = unsafe result >= 0 || SSL_get_error(ssl, result) != SSL_ERROR_WANT_WRITE
    OpenSSLErrors.clear()
    return saidGoodbye
  }

  private mutating func outcome(of result: Int32) -> TLSOutcome {
    switch unsafe SSL_get_error(ssl, result) {
    case SSL_ERROR_WANT_READ: return .waitForRead
    case SSL_ERROR_WANT_WRITE: return .waitForWrite
    case SSL_ERROR_ZERO_RETURN:
      guard unsafe link.pointee.ended != 0 else { return .end }
      failureText = Self.earlyEnd
      return .failed
    default: break
    }
    failureReason = fl_tls_error_reason(OpenSSLErrors.first)
    failureText = describeFailure()
    return .failed
  }

  private func describeFailure() -> String {
    let error = unsafe link.pointee.error
    // OpenSSL's own reason first: the socket may only have failed to carry the alert that tells it.
    if OpenSSLErrors.first == 0, error != 0 { return unsafe String(cString: strerror(error)) }
    let reasons = OpenSSLErrors.take()
    switch verification {
    case .chainFailed:
      let reason = unsafe String(
        cString: X509_verify_cert_error_string(Int(link.pointee.verify_error)))
      let depth = unsafe link.pointee.verify_depth
      return "\(reasons): certificate verification error at depth \(depth): \(reason)"
    case .nameFailed: return "\(reasons): no subject alternative name of the peer matches"
    case .digestFailed: return "\(reasons): the peer's certificate is none of those pinned"
    case .none, .verified: return reasons
    }
  }

  /// The errno behind a failure; 0 when it was not the socket's.
  package var socketError: Int32 { unsafe link.pointee.error }

  // MARK: What came of it

  /// What the verification of the peer's certificate came to.
  package var verification: TLSVerification {
    unsafe TLSVerification(rawValue: link.pointee.verification) ?? .none
  }

  /// The peer's certificate is what the rules demand: found so now, or when the session that this one
  /// resumes was agreed upon under the same rules.
  package var isPeerVerified: Bool {
    if verification == .verified { return true }
    guard isResumed, hasPeerCertificate, unsafe SSL_get_verify_result(ssl) == X509_V_OK,
      let rules = unsafe TLSContext.State.of(ssl)?.validation
    else { return false }
    return rules.demandsAnything
  }

  /// The peer had no certificate although one was demanded.
  package var lacksCertificate: Bool {
    failureReason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE
  }

  /// The peer left without a goodbye.
  package var endedEarly: Bool { endedWithoutGoodbye || socketError != 0 }

  /// The peer has closed its side in order, but for the goodbye: what it said may not be all.
  package var endedWithoutGoodbye: Bool { failureText == Self.earlyEnd }

  private static let earlyEnd = "the peer left without a goodbye"

  /// It failed because the verification did.
  package var failedVerification: Bool { failureReason == SSL_R_CERTIFICATE_VERIFY_FAILED }

  package var isFinished: Bool { unsafe SSL_is_init_finished(ssl) == 1 }
  package var isResumed: Bool { unsafe fl_tls_was_resumed(ssl) == 1 }
  package var hasPeerCertificate: Bool { unsafe SSL_get0_peer_certificate(ssl) != nil }

  /// `TLSv1.3`
  package var version: String { unsafe String(cString: SSL_get_version(ssl)) }

  /// `TLS_AES_128_GCM_SHA256`; within a handshake, the one that it is about.
  package var cipher: String {
    guard let cipher = unsafe SSL_get_current_cipher(ssl) ?? SSL_get_pending_cipher(ssl),
      let name = unsafe SSL_CIPHER_get_name(cipher)
    else { return "" }
    return unsafe String(cString: name)
  }

  /// The curve of the key exchange, with Envoy's name for it; empty when a resumption had none.
  package var curve: String { AlgorithmNames.curve(unsafe fl_tls_negotiated_group(ssl)) }

  /// How the peer signed, with TLS 1.3's names; empty when it did not.
  package var signatureAlgorithm: String {
    AlgorithmNames.signature(
      type: unsafe fl_tls_peer_signature(ssl), digest: unsafe fl_tls_peer_digest(ssl))
  }

  /// The protocol agreed upon by ALPN; empty: none.
  package var applicationProtocol: [UInt8] {
    var base: UnsafePointer<UInt8>?
    var length: UInt32 = 0
    unsafe SSL_get0_alpn_selected(ssl, &base, &length)
    guard let base = unsafe base else { return [] }
    return unsafe Array(UnsafeBufferPointer(start: base, count: Int(length)))
  }

  /// The name the client asked for.
  package var serverName: [UInt8] { unsafe CertificateChoice.serverName(of: ssl) ?? [] }

  /// The session's number, as logs show it: hexadecimal.
  package var sessionID: [UInt8] {
    guard let session = unsafe SSL_get_session(ssl) else { return [] }
    var length: UInt32 = 0
    guard let base = unsafe SSL_SESSION_get_id(session, &length) else { return [] }
    return Hex.text(unsafe Array(UnsafeBufferPointer(start: base, count: Int(length))))
  }

  /// The certificate that the peer presented.
  package var peer: CertificateFacts? {
    guard let certificate = unsafe SSL_get0_peer_certificate(ssl) else { return nil }
    return unsafe CertificateFacts(of: certificate)
  }

  /// The certificate that this side presented.
  package var local: CertificateFacts? {
    guard let certificate = unsafe SSL_get_certificate(ssl) else { return nil }
    return unsafe CertificateFacts(of: certificate)
  }

  /// The peer's certificate as PEM.
  package var peerPEM: [UInt8] {
    guard let certificate = unsafe SSL_get0_peer_certificate(ssl) else { return [] }
    return unsafe CertificateFacts.pem(certificate)
  }

  /// The peer's certificate and what it sent with it as PEM, the peer's own first.
  package var peerChainPEM: [UInt8] {
    let chain = unsafe SSL_get_peer_cert_chain(ssl)
    var out: [UInt8] = []
    // A server's OpenSSL leaves the peer's own certificate out of the chain; a client's does not.
    if unsafe SSL_is_server(ssl) == 1 { out += peerPEM }
    for index in 0..<(unsafe fl_tls_certificate_count(chain)) {
      guard let certificate = unsafe fl_tls_certificate_at(chain, index) else { continue }
      out += unsafe CertificateFacts.pem(certificate)
    }
    return out
  }
}

/// Bytes as hexadecimal text.
package enum Hex {
  package static func text(_ bytes: [UInt8]) -> [UInt8] {
    let digits = Array("0123456789abcdef".utf8)
    return bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
  }
}

/// OpenSSL's numbers as the names that Envoy's statistics have.
enum AlgorithmNames {
  static func curve(_ nid: Int32) -> String {
    switch nid {
    case NID_undef: ""
    case NID_X9_62_prime256v1: "P-256"
    case NID_secp384r1: "P-384"
    case NID_secp521r1: "P-521"
    default: name(nid)
    }
  }

  static func signature(type: Int32, digest: Int32) -> String {
    let hash =
      switch digest {
      case NID_sha1: "sha1"
      case NID_sha256: "sha256"
      case NID_sha384: "sha384"
      case NID_sha512: "sha512"
      default: ""
      }
    switch type {
    case NID_undef: return ""
    case NID_rsassaPss: return "rsa_pss_rsae_\(hash)"
    case NID_rsaEncryption: return "rsa_pkcs1_\(hash)"
    case NID_X9_62_id_ecPublicKey:
      let curve =
        switch digest {
        case NID_sha256: "secp256r1_"
        case NID_sha384: "secp384r1_"
        case NID_sha512: "secp521r1_"
        default: ""
        }
      return "ecdsa_\(curve)\(hash)"
    case NID_ED25519: return "ed25519"
    default: return name(type)
    }
  }

  private static func name(_ nid: Int32) -> String {
    guard let text = unsafe OBJ_nid2sn(nid) else { return "" }
    return unsafe String(cString: text)
  }
}
