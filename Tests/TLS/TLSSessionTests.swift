import Testing

@testable import TLS

@Suite("TLS sessions")
struct TLSSessionTests {
  let authority = TestAuthority()

  func server(
    _ certificates: [TestAuthority.Issued],
    _ change: (inout TLSOptions, inout TLSServerOptions) -> Void = { _, _ in }
  ) throws -> TLSContext {
    var role = TLSServerOptions()
    var options = TLSOptions(.server(role))
    options.certificates = certificates.map(\.pair)
    change(&options, &role)
    options.role = .server(role)
    return try TLSContext(options)
  }

  func client(
    _ change: (inout TLSOptions) -> Void = { _ in }
  ) throws -> TLSContext {
    var options = TLSOptions(.client(TLSClientOptions()))
    var validation = TLSValidation()
    validation.trustedCA = authority.root.chainPEM
    options.validation = validation
    change(&options)
    return try TLSContext(options)
  }

  func pair(
    _ server: TLSContext, _ client: TLSContext, name: String = "", matchesName: Bool = false,
    required: String = "", cache: SessionCache? = nil
  ) throws -> SessionPair {
    try #require(
      SessionPair(
        server: server, client: client, name: name, matchesName: matchesName,
        required: required, cache: cache))
  }

  @Test("a handshake agrees upon TLS 1.3 and carries bytes both ways")
  func carriesBytes() throws {
    let pair = try pair(
      server([authority.issue("a", names: "DNS:a.example")]), client(), name: "a.example")
    #expect(pair.handshake() == .init(server: .done(0), client: .done(0)))
    #expect(pair.look(.client) { $0.version } == "TLSv1.3")
    #expect(pair.look(.client) { $0.verification } == .verified)
    #expect(pair.look(.server) { $0.serverName } == Array("a.example".utf8))
    #expect(pair.look(.client) { $0.curve } == "X25519")
    #expect(pair.look(.client) { $0.signatureAlgorithm } == "ecdsa_secp256r1_sha256")
    #expect(pair.write(.client, Array("question".utf8)) == .done(8))
    pair.wake(.server)
    #expect(pair.read(.server).1 == Array("question".utf8))
    #expect(pair.write(.server, Array("answer".utf8)) == .done(6))
    pair.wake(.client)
    #expect(pair.read(.client).1 == Array("answer".utf8))
  }

  @Test("a goodbye is an end, and an end without one is a failure")
  func goodbye() throws {
    let contexts = try (server([authority.issue("a")]), client())
    let polite = try pair(contexts.0, contexts.1)
    _ = polite.handshake()
    polite.shutdown(.server)
    polite.wake(.client)
    #expect(polite.read(.client).0 == .end)
    let rude = try pair(contexts.0, contexts.1)
    _ = rude.handshake()
    rude.settle()
    rude.hangUp(.server)
    rude.wake(.client)
    #expect(rude.read(.client).0 == .failed)
    #expect(rude.look(.client) { $0.failureText } == "the peer left without a goodbye")
  }

  @Test("an end behind the last bytes of a read is told without the socket's help")
  func endBehindBytes() throws {
    let pair = try pair(server([authority.issue("a")]), client())
    _ = pair.handshake()
    _ = pair.write(.client, Array("last words".utf8))
    #expect(pair.shutdown(.client))
    pair.wake(.server)
    #expect(pair.read(.server).1 == Array("last words".utf8))
    #expect(pair.look(.server) { $0.mayRead })
    #expect(pair.read(.server).0 == .end)
    #expect(pair.look(.server) { !$0.mayRead })
  }

  @Test("after its goodbye one side still hears the other")
  func halfClosed() throws {
    let pair = try pair(server([authority.issue("a")]), client())
    _ = pair.handshake()
    pair.settle()
    #expect(pair.shutdown(.client))
    _ = pair.write(.server, Array("an answer".utf8))
    // A second call must not look for the other's goodbye.
    #expect(pair.shutdown(.client))
    pair.wake(.client)
    #expect(pair.read(.client).1 == Array("an answer".utf8))
  }

  @Test(
    "plain text that is waiting within is told, whatever the reads' size", arguments: [1, 7, 4096])
  func buffered(size: Int) throws {
    let pair = try pair(server([authority.issue("a")]), client())
    _ = pair.handshake()
    let sent = (0..<40_000).map { UInt8(truncatingIfNeeded: $0) }
    var written = 0
    var received: [UInt8] = []
    pair.wake(.server)
    while received.count < sent.count {
      if written < sent.count, case .done(let n) = pair.write(.client, Array(sent[written...])) {
        written += n
        pair.wake(.server)
      }
      while pair.look(.server, { $0.mayRead }) {
        guard case (.done, let bytes) = pair.read(.server, size) else { break }
        received += bytes
      }
    }
    #expect(received == sent)
    #expect(pair.look(.server) { !$0.mayRead })
  }

  @Test("a write that the socket does not take is repeated from other memory")
  func blockedWrite() throws {
    let pair = try pair(server([authority.issue("a")]), client())
    _ = pair.handshake()
    let sent = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 / 3) }
    var written = 0
    var blocked = false
    var received: [UInt8] = []
    while received.count < sent.count {
      // Each offer lies in memory of its own.
      switch pair.write(.server, Array(sent[written...])) {
      case .done(let n) where written < sent.count: written += n
      case .waitForWrite:
        blocked = true
        fallthrough
      default:
        pair.wake(.client)
        while case (.done, let bytes) = pair.read(.client) { received += bytes }
      }
      if written == sent.count {
        pair.wake(.client)
        while case (.done, let bytes) = pair.read(.client) { received += bytes }
      }
    }
    #expect(blocked)
    #expect(received == sent)
  }

  // MARK: Who the server is

  @Test("a certificate of another authority is refused, and the reason is in words")
  func unknownAuthority() throws {
    let stranger = TestAuthority("stranger")
    let pair = try pair(server([stranger.issue("a")]), client())
    let ending = pair.handshake()
    #expect(ending.client == .failed)
    #expect(ending.server == .failed)
    #expect(pair.look(.client) { $0.verification } == .chainFailed)
    #expect(
      pair.look(.client) { $0.failureText }
        == "certificate verify failed: certificate verification error at depth 0: "
        + "unable to get local issuer certificate")
    #expect(pair.look(.server) { $0.failureText } == "tlsv1 alert unknown ca")
  }

  @Test("an expired certificate is refused, unless that is allowed")
  func expired() throws {
    let old = authority.issue("a", from: -7200, to: -3600)
    let strict = try pair(server([old]), client())
    #expect(strict.handshake().client == .failed)
    #expect(
      strict.look(.client) { $0.failureText }
        == "certificate verify failed: certificate verification error at depth 0: "
        + "certificate has expired")
    let lenient = try pair(server([old]), client { $0.validation?.allowsExpired = true })
    #expect(lenient.handshake() == .init(server: .done(0), client: .done(0)))
  }

  @Test("what is accepted untrusted is still found untrusted")
  func untrusted() throws {
    let pair = try pair(
      server([TestAuthority("stranger").issue("a")]),
      client { $0.validation?.acceptsUntrusted = true })
    #expect(pair.handshake().client == .done(0))
    #expect(pair.look(.client) { $0.verification } == .chainFailed)
  }

  @Test(
    "names have to match by their kind",
    arguments: [
      (TLSNameMatcher.exactly(.dns, "a.example"), true),
      (.exactly(.dns, "x.wild.example"), true), (.exactly(.dns, "X.Wild.Example"), true),
      (.exactly(.dns, "y.x.wild.example"), false), (.exactly(.dns, "wild.example"), false),
      (.exactly(.dns, "other.example"), false), (.exactly(.uri, "spiffe://mesh/a"), true),
      (.exactly(.uri, "a.example"), false), (.exactly(.ip, "127.0.0.1"), true),
      (.exactly(.ip, "::1"), true), (.exactly(.ip, "127.0.0.2"), false),
      (.exactly(.email, "a@a.example"), true), (.exactly(.email, "b@a.example"), false),
    ])
  func names(matcher: TLSNameMatcher, isGood: Bool) throws {
    let leaf = authority.issue(
      "a",
      names: "DNS:a.example,DNS:*.wild.example,URI:spiffe://mesh/a,IP:127.0.0.1,IP:::1,"
        + "email:a@a.example")
    let pair = try pair(server([leaf]), client { $0.validation?.names = [matcher] })
    #expect(pair.handshake().client == (isGood ? .done(0) : .failed))
    #expect(pair.look(.client) { $0.verification } == (isGood ? .verified : .nameFailed))
  }

  @Test("a zero byte does not end a name")
  func zeroByte() throws {
    let names = TLSNameMatcher.exactly(.dns, "good.example")
    let leaf = authority.issue("a", names: "DNS:good.example")
    let evil = try #require(
      leaf.withName(dns: Array("good.example\0.evil.example".utf8), authority))
    let pair = try pair(server([evil]), client { $0.validation?.names = [names] })
    #expect(pair.handshake().client == .failed)
  }

  @Test("the name asked for has to be the certificate's, where that is demanded")
  func askedName() throws {
    let context = try server([authority.issue("a", names: "DNS:a.example")])
    let good = try pair(context, client(), name: "a.example", matchesName: true)
    #expect(good.handshake().client == .done(0))
    let bad = try pair(context, client(), name: "b.example", matchesName: true)
    #expect(bad.handshake().client == .failed)
    #expect(bad.look(.client) { $0.verification } == .nameFailed)
  }

  @Test("a pinned certificate is taken, and no other")
  func pins() throws {
    let leaf = authority.issue("a")
    let other = authority.issue("b")
    for (pin, outcome) in [(leaf.digest, TLSOutcome.done(0)), (other.digest, .failed)] {
      let pair = try pair(server([leaf]), client { $0.validation?.certificateDigests = [pin] })
      #expect(pair.handshake().client == outcome)
    }
    let key = try #require(try server([leaf]).certificates.first).digest
    #expect(key == leaf.digest)
  }

  @Test("a pinned key outlives its certificate")
  func keyPins() throws {
    let leaf = authority.issue("a")
    let pair = try pair(
      server([leaf]), client { $0.validation?.keyDigests = [leaf.keyDigest] })
    #expect(pair.handshake().client == .done(0))
    let other = try self.pair(
      server([authority.issue("a")]), client { $0.validation?.keyDigests = [leaf.keyDigest] })
    #expect(other.handshake().client == .failed)
    #expect(other.look(.client) { $0.verification } == .digestFailed)
  }

  @Test("a revoked certificate is refused")
  func revoked() throws {
    let good = authority.issue("good")
    let bad = authority.issue("bad")
    let list = authority.revoking([bad])
    let context = try client { $0.validation?.revocationLists = list }
    #expect(try pair(server([good]), context).handshake().client == .done(0))
    let pair = try pair(server([bad]), context)
    #expect(pair.handshake().client == .failed)
    #expect(pair.look(.client) { $0.failureText }.hasSuffix("certificate revoked"))
  }

  @Test("a chain deeper than the limit is refused")
  func depth() throws {
    let middle = authority.issue("middle", isAuthority: true)
    let leaf = authority.issue("leaf", by: middle)
    var chained = leaf.pair
    chained.chain += middle.chainPEM
    for (depth, outcome) in [(UInt32(0), TLSOutcome.failed), (1, .done(0))] {
      var options = TLSOptions(.server(TLSServerOptions()))
      options.certificates = [chained]
      let pair = try pair(
        TLSContext(options), client { $0.validation?.maxVerifyDepth = depth })
      #expect(pair.handshake().client == outcome)
    }
  }

  @Test("an intermediate certificate can be what is trusted")
  func partialChain() throws {
    let middle = authority.issue("middle", isAuthority: true)
    let leaf = authority.issue("leaf", by: middle)
    let pair = try pair(server([leaf]), client { $0.validation?.trustedCA = middle.chainPEM })
    #expect(pair.handshake().client == .done(0))
  }

  // MARK: Who the client is

  @Test("a client without a certificate is refused where one is required")
  func requiredCertificate() throws {
    let context = try server([authority.issue("a")]) { options, role in
      options.validation = TLSValidation()
      options.validation?.trustedCA = authority.root.chainPEM
      role.requiresClientCertificate = true
    }
    let bare = try pair(context, client())
    #expect(bare.handshake().server == .failed)
    #expect(bare.look(.server) { $0.lacksCertificate })
    let identified = try pair(
      context, client { $0.certificates = [authority.issue("me", names: "URI:spiffe://me").pair] })
    #expect(identified.handshake().server == .done(0))
    let peer = try #require(identified.look(.server) { $0.peer })
    #expect(peer.names.uris == [Array("spiffe://me".utf8)])
    #expect(peer.subject == Array("CN=me".utf8))
    #expect(identified.look(.server) { $0.verification } == .verified)
    let stranger = try pair(
      context, client { $0.certificates = [TestAuthority("stranger").issue("x").pair] })
    #expect(stranger.handshake().server == .failed)
    #expect(stranger.look(.server) { $0.failedVerification })
  }

  // MARK: Choices

  @Test("the name asked for chooses the certificate")
  func choice() throws {
    let context = try server([
      authority.issue("first", names: "DNS:first.example"),
      authority.issue("wild", names: "DNS:*.wild.example"),
      authority.issue("common.example"),
    ])
    for (name, subject) in [
      ("first.example", "CN=first"), ("x.wild.example", "CN=wild"), ("FIRST.example", "CN=first"),
      ("common.example", "CN=common.example"), ("nobody.example", "CN=first"), ("", "CN=first"),
    ] {
      let pair = try pair(context, client(), name: name)
      #expect(pair.handshake().client == .done(0))
      #expect(pair.look(.client) { $0.peer?.subject } == Array(subject.utf8))
    }
  }

  @Test("of two keys for one name, the one that the client can check is presented")
  func choiceByKey() throws {
    let context = try server([
      authority.issue("rsa", names: "DNS:a.example", kind: .rsa),
      authority.issue("ec", names: "DNS:a.example"),
    ])
    for (signature, subject) in [
      ("rsa_pss_rsae_sha256", "CN=rsa"), ("ecdsa_secp256r1_sha256", "CN=ec"),
    ] {
      let pair = try pair(
        context,
        client {
          $0.signatureAlgorithms = [signature]
          // The authority's own signature is another's to check.
          $0.validation = nil
        }, name: "a.example")
      #expect(pair.handshake().client == .done(0))
      #expect(pair.look(.client) { $0.peer?.subject } == Array(subject.utf8))
    }
  }

  @Test("the server's preferred protocol is agreed upon, or none")
  func protocols() throws {
    let context = try server([authority.issue("a")]) { options, _ in
      options.protocols = ["h2", "http/1.1"]
    }
    for (offered, agreed) in [
      (["http/1.1", "h2"], "h2"), (["http/1.1"], "http/1.1"), (["other"], ""), ([], ""),
    ] {
      let pair = try pair(context, client { $0.protocols = offered })
      #expect(pair.handshake() == .init(server: .done(0), client: .done(0)))
      #expect(pair.look(.server) { $0.applicationProtocol } == Array(agreed.utf8))
    }
  }

  @Test("a connection offers protocols of its own where its context names none")
  func ownProtocols() throws {
    let context = try server([authority.issue("a")]) { options, _ in
      options.protocols = ["h2", "http/1.1"]
    }
    for (named, agreed) in [([], "h2"), (["http/1.1"], "http/1.1")] {
      let pair = try #require(
        SessionPair(
          server: context, client: client { $0.protocols = named }, offer: "\u{2}h2"))
      #expect(pair.handshake() == .init(server: .done(0), client: .done(0)))
      #expect(pair.look(.client) { $0.applicationProtocol } == Array(agreed.utf8))
    }
  }

  @Test("versions that do not meet have nothing to agree upon")
  func versions() throws {
    let context = try server([authority.issue("a")]) { options, _ in
      options.minimumVersion = .tls13
    }
    let pair = try pair(context, client { $0.maximumVersion = .tls12 })
    #expect(pair.handshake().server == .failed)
    #expect(pair.look(.server) { $0.failureText } == "unsupported protocol")
  }

  // MARK: Resumption

  @Test(
    "the certificate has to carry what is required of it, whatever kind of name that is",
    arguments: [
      ("a.example", true), ("X.wild.example", true), ("spiffe://mesh/a", true),
      ("127.0.0.1", true), ("b.example", false), ("wild.example", false), ("127.0.0.2", false),
    ])
  func requiredName(name: String, isGood: Bool) throws {
    let names = "DNS:a.example,DNS:*.wild.example,URI:spiffe://mesh/a,IP:127.0.0.1"
    let context = try server([authority.issue("a", names: names)])
    let pair = try pair(context, client(), required: name)
    #expect(pair.handshake().client == (isGood ? .done(0) : .failed))
    #expect(pair.look(.client) { $0.verification } == (isGood ? .verified : .nameFailed))
  }

  @Test("a required name is required beside those of the rules")
  func requiredBesideRules() throws {
    let context = try server([authority.issue("a", names: "DNS:a.example,DNS:b.example")])
    for (ruled, isGood) in [("b.example", true), ("c.example", false)] {
      let client = try client { $0.validation?.names = [.exactly(.dns, ruled)] }
      let pair = try pair(context, client, required: "a.example")
      #expect(pair.handshake().client == (isGood ? .done(0) : .failed))
    }
  }

  @Test("a session is not resumed where another name is required")
  func resumedForAnotherName() throws {
    let context = try server([authority.issue("a", names: "DNS:a.example")])
    let cache = SessionCache(capacity: 2)
    let client = try client { $0.maximumVersion = .tls12 }
    for required in ["a.example", "a.example", "b.example"] {
      let pair = try pair(context, client, required: required, cache: cache)
      #expect(pair.handshake().client == (required == "a.example" ? .done(0) : .failed))
      pair.settle()
    }
    #expect(cache.count == 1)
  }

  @Test("a name that TLS cannot carry makes no session, and the longest that it can does")
  func nameTooLong() throws {
    let context = try server([authority.issue("a")])
    let client = try client()
    for (length, isGood) in [(255, true), (256, false)] {
      let name = String(repeating: "n", count: length)
      let pair = SessionPair(server: context, client: client, name: name)
      #expect((pair != nil) == isGood)
    }
  }

  @Test("a session is resumed by its ticket, once in TLS 1.3", arguments: [false, true])
  func tickets(isOld: Bool) throws {
    let context = try server([authority.issue("a")])
    let cache = SessionCache(capacity: 1)
    let client = try client { if isOld { $0.maximumVersion = .tls12 } }
    for round in 0..<3 {
      let pair = try pair(context, client, name: "a.example", cache: cache)
      #expect(pair.handshake().client == .done(0))
      #expect(pair.look(.client) { $0.isResumed } == (round > 0))
      #expect(pair.look(.server) { $0.isResumed } == (round > 0))
      pair.settle()
      #expect(cache.count == 1)
    }
    let elsewhere = try pair(context, client, name: "b.example", cache: cache)
    #expect(elsewhere.handshake().client == .done(0))
    #expect(elsewhere.look(.client) { !$0.isResumed })
  }

  @Test("who was verified stays verified in a resumed session, and who was not does not")
  func resumedIdentity() throws {
    for (isTrusted, accepts) in [(true, false), (false, true)] {
      let context = try server([authority.issue("a")]) { options, _ in
        options.validation = TLSValidation()
        options.validation?.trustedCA = authority.root.chainPEM
        options.validation?.acceptsUntrusted = accepts
      }
      let signer = isTrusted ? authority : TestAuthority("stranger")
      let identity = signer.issue("me", names: "URI:spiffe://me").pair
      let client = try client { $0.certificates = [identity] }
      let cache = SessionCache(capacity: 1)
      for round in 0..<2 {
        let pair = try pair(context, client, cache: cache)
        #expect(pair.handshake().server == .done(0))
        #expect(pair.look(.server) { $0.isResumed } == (round > 0))
        #expect(pair.look(.server) { $0.isPeerVerified } == isTrusted)
        #expect(pair.look(.server) { $0.peer?.names.uris } == [Array("spiffe://me".utf8)])
        pair.settle()
      }
    }
  }

  @Test("a ticket outlives the context, as long as its key is known")
  func ticketKeys() throws {
    func key(_ byte: UInt8) -> [UInt8] { Array(repeating: byte, count: TicketKeys.keyBytes) }
    let leaf = authority.issue("a")
    let cache = SessionCache(capacity: 1)
    let client = try client()
    for (keys, isResumed) in [
      ([key(1)], false), ([key(2), key(1)], true), ([key(2)], true), ([key(3)], false),
    ] {
      let context = try server([leaf]) { _, role in role.ticketKeys = TicketKeys(configured: keys) }
      let pair = try pair(context, client, cache: cache)
      #expect(pair.handshake().client == .done(0))
      #expect(pair.look(.client) { $0.isResumed } == isResumed)
      pair.settle()
    }
  }

  @Test("without tickets sessions are resumed by number, and without either not at all")
  func numbers() throws {
    for (remembers, isResumed) in [(true, true), (false, false)] {
      let context = try server([authority.issue("a")]) { _, role in
        role.sendsTickets = false
        role.remembersSessions = remembers
      }
      let cache = SessionCache(capacity: 1)
      let client = try client()
      for round in 0..<2 {
        let pair = try pair(context, client, cache: cache)
        #expect(pair.handshake().client == .done(0))
        #expect(pair.look(.client) { $0.isResumed } == (round > 0 && isResumed))
        pair.settle()
      }
    }
  }

  // MARK: Hostile bytes

  @Test("bytes that are not TLS fail the handshake in words")
  func garbage() throws {
    let pair = try pair(server([authority.issue("a")]), client())
    pair.sendRaw(toServer: Array("GET / HTTP/1.1\r\n\r\n".utf8))
    #expect(pair.step(.server) == .failed)
    #expect(pair.look(.server) { $0.failureText } == "http request")
  }

  @Test("a handshake that comes a byte at a time is the same handshake")
  func dripping() throws {
    let context = try server([authority.issue("a")])
    let source = try pair(context, client())
    _ = source.step(.client)
    let hello = source.takeRaw(fromServer: true)
    let pair = try pair(context, client())
    for byte in hello.dropLast() {
      pair.sendRaw(toServer: [byte])
      #expect(pair.step(.server) == .waitForRead)
    }
    pair.sendRaw(toServer: Array(hello.suffix(1)))
    #expect(pair.step(.server) == .waitForRead)
    #expect(!pair.takeRaw(fromServer: false).isEmpty, "the server has answered the whole hello")
  }
}
