import COpenSSL

/// One side's TLS configuration, built once and never changed: certificates, rules, names. Shared by
/// all workers; a session keeps the one it began with for as long as it needs it.
@safe
package final class TLSContext: @unchecked Sendable {
  // `@unchecked`: an SSL_CTX is safe to use from several threads once nothing sets it up any more,
  // and nothing does after `init`.
  let raw: OpaquePointer
  private let state: State
  /// What it shows of its certificates, and for how long they hold.
  package let certificates: [CertificateFacts]
  package let authorities: [CertificateFacts]

  /// What OpenSSL's callbacks find their way back to. Owned by the SSL_CTX itself, because a session
  /// may live longer than the `TLSContext` it was made from.
  final class State {
    let validation: Validation?
    let ticketKeys: TicketKeys?
    let choice: CertificateChoice?
    /// Length-prefixed names, the preferred first (RFC 7301 §3.1).
    let protocols: [UInt8]

    init(
      validation: Validation?, ticketKeys: TicketKeys?, choice: CertificateChoice?,
      protocols: [UInt8]
    ) {
      self.validation = validation
      self.ticketKeys = ticketKeys
      self.choice = choice
      self.protocols = protocols
    }

    private static let index = unsafe fl_tls_context_index { _, state, _, _, _, _ in
      guard let state = unsafe state else { return }
      // SAFETY: retained once by `attach`, and OpenSSL releases each context's data once.
      unsafe Unmanaged<State>.fromOpaque(state).release()
    }

    func attach(to context: OpaquePointer) {
      unsafe _ = SSL_CTX_set_ex_data(context, Self.index, Unmanaged.passRetained(self).toOpaque())
    }

    /// The state behind a session.
    static func of(_ ssl: OpaquePointer) -> State? {
      guard let context = unsafe SSL_get_SSL_CTX(ssl),
        let raw = unsafe SSL_CTX_get_ex_data(context, index)
      else { return nil }
      return unsafe Unmanaged<State>.fromOpaque(raw).takeUnretainedValue()
    }
  }

  /// Reads, checks and installs everything; throws what does not fit, and leaves nothing behind.
  package init(_ options: TLSOptions) throws(TLSContextError) {
    let isServer: Bool
    if case .server = options.role { isServer = true } else { isServer = false }
    let loaded = try Self.load(options.certificates)
    let trusted = unsafe PEM.certificates(options.validation?.trustedCA ?? [])
    // SAFETY: the certificates are ours until they have been handed on.
    defer { for index in unsafe trusted.indices { unsafe X509_free(trusted[index]) } }
    if options.validation?.trustedCA != nil, unsafe trusted.isEmpty {
      throw TLSContextError(.trustedCA, "no certificate in it: \(OpenSSLErrors.take())")
    }
    guard let context = unsafe SSL_CTX_new(isServer ? TLS_server_method() : TLS_client_method())
    else { throw TLSContextError(.memory, OpenSSLErrors.take()) }
    unsafe raw = context
    var keys: TicketKeys?
    if case .server(let server) = options.role { keys = server.ticketKeys ?? TicketKeys() }
    let scans: Bool
    if case .server(let server) = options.role {
      scans = server.scansCertificatesOnMismatch
    } else {
      scans = false
    }
    state = State(
      validation: options.validation.map(Validation.init), ticketKeys: keys,
      choice: isServer && loaded.count > 1
        ? CertificateChoice(loaded, scansOnMismatch: scans) : nil,
      protocols: options.protocols.flatMap { [UInt8(truncatingIfNeeded: $0.utf8.count)] + $0.utf8 })
    certificates = loaded.map { unsafe CertificateFacts(of: $0.leaf) }
    authorities = unsafe trusted.map { unsafe CertificateFacts(of: $0) }
    unsafe state.attach(to: context)
    unsafe fl_tls_set_modes(context)
    try setAlgorithms(options)
    try install(loaded)
    try unsafe installTrust(options.validation, trusted, isServer: isServer)
    switch options.role {
    case .server(let server): try setUp(server, options)
    case .client(let client): setUp(client)
    }
  }

  deinit { unsafe SSL_CTX_free(raw) }

  private static func load(
    _ sources: [TLSCertificate]
  ) throws(TLSContextError) -> [LoadedCertificate] {
    var loaded: [LoadedCertificate] = []
    for (index, source) in sources.enumerated() {
      loaded.append(try LoadedCertificate.load(source, index: index))
    }
    return loaded
  }

  // MARK: Algorithms

  private func setAlgorithms(_ options: TLSOptions) throws(TLSContextError) {
    guard options.minimumVersion <= options.maximumVersion,
      unsafe fl_tls_set_versions(
        raw, options.minimumVersion.number, options.maximumVersion.number) == 1
    else { throw TLSContextError(.versions, "no version is left between minimum and maximum") }
    let ciphers = options.ciphers.isEmpty ? TLSOptions.defaultCiphers : options.ciphers
    guard unsafe SSL_CTX_set_cipher_list(raw, ciphers.joined(separator: ":")) == 1 else {
      throw TLSContextError(.ciphers, OpenSSLErrors.take())
    }
    // OpenSSL drops what it does not know, as long as it knows one: each is asked for alone.
    for cipher in options.ciphers where !knows(cipher) {
      OpenSSLErrors.clear()
      throw TLSContextError(.ciphers, "'\(cipher)' is no cipher suite that can be had")
    }
    let curves = options.curves.isEmpty ? TLSOptions.defaultCurves : options.curves
    guard unsafe fl_tls_set_groups(raw, curves.joined(separator: ":")) == 1 else {
      throw TLSContextError(
        .curves, "no known curves: \(curves.joined(separator: ", ")): \(OpenSSLErrors.take())")
    }
    let signatures = options.signatureAlgorithms
    if !signatures.isEmpty,
      unsafe fl_tls_set_signature_algorithms(raw, signatures.joined(separator: ":")) != 1
    {
      throw TLSContextError(
        .signatureAlgorithms,
        "no known algorithms: \(signatures.joined(separator: ", ")): \(OpenSSLErrors.take())")
    }
  }

  private func knows(_ cipher: String) -> Bool {
    guard let trial = unsafe SSL_CTX_new(TLS_method()) else { return false }
    defer { unsafe SSL_CTX_free(trial) }
    // Words such as `-ALL` or `!aNULL` take away, and alone leave nothing.
    if let first = cipher.utf8.first, !(first | 32 &- 97 < 26) { return true }
    return unsafe SSL_CTX_set_cipher_list(trial, cipher) == 1
  }

  // MARK: Certificates

  /// One certificate is the context's own; among several each handshake chooses.
  private func install(_ loaded: [LoadedCertificate]) throws(TLSContextError) {
    for (index, certificate) in loaded.enumerated() where loaded.count == 1 || state.choice == nil {
      let done = unsafe SSL_CTX_use_cert_and_key(
        raw, certificate.leaf, certificate.key, certificate.chain, 1)
      guard done == 1 else { throw TLSContextError(.certificate(index), OpenSSLErrors.take()) }
    }
    guard state.choice != nil else { return }
    unsafe SSL_CTX_set_cert_cb(
      raw,
      { ssl, _ in
        guard let ssl = unsafe ssl, let choice = unsafe State.of(ssl)?.choice else { return 0 }
        return unsafe choice.apply(to: ssl) ? 1 : 0
      }, nil)
  }

  // MARK: Trust

  private func installTrust(
    _ validation: TLSValidation?, _ trusted: [OpaquePointer], isServer: Bool
  ) throws(TLSContextError) {
    guard let validation else { return }
    guard let store = unsafe SSL_CTX_get_cert_store(raw) else {
      throw TLSContextError(.memory, "out of memory")
    }
    for index in unsafe trusted.indices {
      unsafe _ = X509_STORE_add_cert(store, trusted[index])
    }
    OpenSSLErrors.clear()
    if isServer { unsafe nameAuthorities(trusted) }
    // An intermediate certificate that is trusted is trusted without its issuer (as in Envoy).
    var flags = UInt(X509_V_FLAG_PARTIAL_CHAIN)
    if validation.allowsExpired { flags |= UInt(X509_V_FLAG_NO_CHECK_TIME) }
    if let lists = validation.revocationLists {
      try unsafe add(lists, to: store)
      flags |= UInt(X509_V_FLAG_CRL_CHECK)
      if !validation.checksOnlyLeafRevocation { flags |= UInt(X509_V_FLAG_CRL_CHECK_ALL) }
    }
    unsafe _ = X509_STORE_set_flags(store, flags)
    if let depth = validation.maxVerifyDepth {
      unsafe SSL_CTX_set_verify_depth(raw, Int32(clamping: depth))
    }
  }

  /// Tells clients whose certificates will do.
  private func nameAuthorities(_ trusted: [OpaquePointer]) {
    guard let names = unsafe fl_tls_authorities() else { return }
    for index in unsafe trusted.indices {
      unsafe _ = fl_tls_add_client_authority(names, trusted[index])
    }
    unsafe SSL_CTX_set_client_CA_list(raw, names)
  }

  private func add(_ lists: [UInt8], to store: OpaquePointer) throws(TLSContextError) {
    var count = 0
    unsafe PEM.withMemory(lists) { bio in
      while let list = unsafe PEM_read_bio_X509_CRL(bio, nil, nil, nil) {
        unsafe _ = X509_STORE_add_crl(store, list)
        unsafe X509_CRL_free(list)
        count += 1
      }
    }
    guard count > 0 else {
      throw TLSContextError(.revocationLists, "no revocation list in it: \(OpenSSLErrors.take())")
    }
    OpenSSLErrors.clear()
  }

  /// Whether this side looks at what the peer presents.
  private var verifies: Bool { state.validation != nil }

  // MARK: Roles

  private func setUp(
    _ server: TLSServerOptions, _ options: TLSOptions
  ) throws(TLSContextError) {
    var flags = FL_TLS_NO_RENEGOTIATION | FL_TLS_NO_COMPRESSION | FL_TLS_IGNORE_EOF
    if !server.prefersClientCiphers { flags |= FL_TLS_SERVER_PREFERENCE }
    if !server.sendsTickets { flags |= FL_TLS_NO_TICKET }
    unsafe _ = SSL_CTX_set_options(raw, flags)
    unsafe fl_tls_cache_sessions(
      raw, server.remembersSessions ? Int(SSL_SESS_CACHE_SERVER) : Int(SSL_SESS_CACHE_OFF),
      Self.rememberedSessions)
    // TLS 1.3 sends numbers in place of tickets; without either there is nothing to send.
    if !server.sendsTickets, !server.remembersSessions {
      unsafe _ = SSL_CTX_set_num_tickets(raw, 0)
    }
    if let timeout = server.sessionTimeout { unsafe _ = SSL_CTX_set_timeout(raw, Int(timeout)) }
    unsafe TicketKeys.install(on: raw)
    let identity = SessionIdentity.make(options, names: certificates)
    unsafe _ = SSL_CTX_set_session_id_context(raw, identity, UInt32(identity.count))
    if verifies || server.requiresClientCertificate {
      var mode = SSL_VERIFY_PEER
      if server.requiresClientCertificate { mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT }
      unsafe SSL_CTX_set_verify(raw, mode, nil)
      unsafe Validation.install(on: raw)
    }
    if !state.protocols.isEmpty { installProtocolChoice() }
  }

  /// Sessions a server remembers by number: as many as BoringSSL does. What does not fit is forgotten,
  /// and costs a full handshake.
  private static let rememberedSessions = 20 * 1024

  private func installProtocolChoice() {
    unsafe SSL_CTX_set_alpn_select_cb(
      raw,
      { ssl, chosen, length, offered, offeredLength, _ in
        guard let ssl = unsafe ssl, let state = unsafe State.of(ssl), let chosen = unsafe chosen,
          let offered = unsafe offered, let length = unsafe length
        else { return SSL_TLSEXT_ERR_NOACK }
        var result: UnsafeMutablePointer<UInt8>?
        // SAFETY: the choice points into `offered` or into `protocols`, which the state keeps.
        let outcome = unsafe state.protocols.withUnsafeBufferPointer { ours in
          unsafe SSL_select_next_proto(
            &result, length, ours.baseAddress, UInt32(ours.count), offered, offeredLength)
        }
        // Nothing in common: the handshake goes on without (as in Envoy).
        guard outcome == OPENSSL_NPN_NEGOTIATED else { return SSL_TLSEXT_ERR_NOACK }
        unsafe chosen.pointee = UnsafePointer(result)
        return SSL_TLSEXT_ERR_OK
      }, nil)
  }

  private func setUp(_ client: TLSClientOptions) {
    unsafe _ = SSL_CTX_set_options(
      raw, FL_TLS_NO_RENEGOTIATION | FL_TLS_NO_COMPRESSION | FL_TLS_IGNORE_EOF)
    // Sessions are kept where connections are made, not in OpenSSL's locked cache.
    unsafe fl_tls_cache_sessions(
      raw, Int(SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL), 1)
    unsafe SessionCache.install(on: raw)
    if verifies || client.matchesServerName {
      unsafe SSL_CTX_set_verify(raw, SSL_VERIFY_PEER, nil)
      unsafe Validation.install(on: raw)
    } else {
      unsafe SSL_CTX_set_verify(raw, SSL_VERIFY_NONE, nil)
    }
    if !state.protocols.isEmpty {
      unsafe _ = SSL_CTX_set_alpn_protos(raw, state.protocols, UInt32(state.protocols.count))
    }
  }
}

extension TLSOptions.Version {
  fileprivate var number: Int32 {
    switch self {
    case .tls10: TLS1_VERSION
    case .tls11: TLS1_1_VERSION
    case .tls12: TLS1_2_VERSION
    case .tls13: TLS1_3_VERSION
    }
  }
}

/// What a session may only be resumed under: whoever was verified by other rules is verified anew.
enum SessionIdentity {
  /// At most 32 bytes: a digest of what the server is and of whom it trusts.
  static func make(_ options: TLSOptions, names: [CertificateFacts]) -> [UInt8] {
    var text: [UInt8] = []
    func add(_ part: [UInt8]) {
      unsafe withUnsafeBytes(of: part.count) { unsafe text.append(contentsOf: $0) }
      text += part
    }
    // The names, not the certificates: a renewed certificate keeps its sessions.
    for certificate in names {
      for name in certificate.names.dns + certificate.names.uris + certificate.names.addresses {
        add(name)
      }
      add(certificate.names.commonName ?? [])
    }
    if let validation = options.validation {
      add(validation.trustedCA ?? [])
      add(validation.revocationLists ?? [])
      for digest in validation.certificateDigests + validation.keyDigests { add(digest) }
      for matcher in validation.names { add(matcher.exactName ?? []) }
      add([validation.allowsExpired ? 1 : 0, validation.acceptsUntrusted ? 1 : 0])
    }
    return Digest.sha256(text)
  }
}

/// SHA-256, as pins and names of certificates use it.
package enum Digest {
  package static func sha256(_ bytes: [UInt8]) -> [UInt8] {
    var out = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
    var length: UInt32 = 0
    guard unsafe EVP_Digest(bytes, bytes.count, &out, &length, EVP_sha256(), nil) == 1 else {
      return []
    }
    return Array(out.prefix(Int(length)))
  }
}
