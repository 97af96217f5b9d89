import Glibc
import Resources
import TLS
import Testing

@testable import MeshIdentity

@Suite("The certificate authority")
struct CertificateAuthorityTests {
  let scratch: Scratch
  let now = Int(time(nil))

  init() throws { scratch = try Scratch() }

  func make(
    longest: Int = IdentityLimits.mostSeconds, root: Int = IdentityLimits.rootSeconds,
    at time: Int? = nil
  ) throws -> CertificateAuthority {
    var options = CertificateAuthority.Options(directory: scratch.path + "/ca")
    options.longestSeconds = longest
    options.rootSeconds = root
    return try CertificateAuthority(options, at: time ?? now)
  }

  func leaf(_ chain: [[UInt8]]) throws -> CertificateFacts {
    let pem = try #require(chain.first)
    return try #require(CertificateFacts.read(pem: pem).first)
  }

  @Test("makes a root that only its owner reads, and finds it again")
  func selfSigned() throws {
    let first = try make()
    #expect(scratch.mode(of: "ca/self-signed.pem") == 0o600)
    #expect(scratch.mode(of: "ca") == 0o700)
    #expect(scratch.mode(of: "ca/root-cert.pem") == 0o644)
    let second = try make()
    #expect(first.roots == second.roots)
    #expect(first.roots == scratch.read("ca/root-cert.pem"))
    let root = try #require(CertificateFacts.read(pem: first.roots).first)
    #expect(root.notAfter == now + IdentityLimits.rootSeconds)
  }

  @Test("signs for the identity, not for the names in the request")
  func issued() throws {
    let authority = try make()
    let identity = try makeIdentity("shop", "cart")
    let request = try makeRequest(for: "spiffe://cluster.local/ns/bank/sa/vault")
    let chain = try authority.certify(identity, request, lasting: 0, at: now)
    #expect(chain.count == 2)
    #expect(chain.last == authority.roots)
    let facts = try leaf(chain)
    #expect(facts.names.uris == [Array(identity.uri.utf8)])
    #expect(facts.notBefore == now - IdentityLimits.backdatedSeconds)
    #expect(facts.notAfter == now + IdentityLimits.defaultSeconds)
    #expect(CertificateChain.flaw(of: chain[0], through: [], to: authority.roots, at: now) == nil)
    #expect(try CertificateChain.flaw(of: chain[0], through: [], to: otherRoots(), at: now) != nil)
  }

  func otherRoots() throws -> [UInt8] {
    var options = CertificateAuthority.Options(directory: scratch.path + "/other")
    options.trustDomain = "cluster.local"
    return try CertificateAuthority(options, at: now).roots
  }

  @Test("gives the life that is asked for, up to the longest, and none beyond its own")
  func times() throws {
    let identity = try makeIdentity("a", "b")
    let authority = try make(longest: 100, root: 1000)
    let request = try makeRequest()
    func end(_ seconds: Int, at time: Int? = nil) throws -> Int {
      try leaf(authority.certify(identity, request, lasting: seconds, at: time ?? now)).notAfter
    }
    #expect(try end(100) == now + 100)
    #expect(try end(0) == now + 100)
    #expect(throws: CertificateAuthority.Refusal.tooLong(most: 100)) { try end(101) }
    #expect(try end(100, at: now + 950) == now + 1000)
    #expect(throws: CertificateAuthority.Refusal.authorityEnded) { try end(100, at: now + 1000) }
  }

  @Test("refuses requests that are none, or larger than any")
  func unreadable() throws {
    let authority = try make()
    let identity = try makeIdentity("a", "b")
    let huge = [UInt8](repeating: 65, count: IdentityLimits.requestBytes + 1)
    for bytes in [[], Array("hello".utf8), huge] {
      #expect(throws: CertificateAuthority.Refusal.request(.unreadable)) {
        try authority.certify(identity, bytes, lasting: 0, at: now)
      }
    }
  }

  // MARK: A given authority

  /// Files as an operator would put them: a root, and an intermediate that signs.
  func give(_ root: CertificateSigner, into folder: String = "ca") throws {
    let key = try #require(PrivateKey(.p256))
    var template = CertificateTemplate(notBefore: now - 60, notAfter: now + 10_000)
    template.organization = "intermediate"
    template.isAuthority = true
    let pem = try #require(root.issue(template, for: key))
    mkdir("\(scratch.path)/\(folder)", 0o700)
    try scratch.write("\(folder)/ca-key.pem", key.pem)
    try scratch.write("\(folder)/ca-cert.pem", pem)
    try scratch.write("\(folder)/cert-chain.pem", pem + root.pem)
    try scratch.write("\(folder)/root-cert.pem", root.pem)
  }

  func makeRoot() throws -> CertificateSigner {
    let key = try #require(PrivateKey(.rsa2048))
    var template = CertificateTemplate(notBefore: now - 60, notAfter: now + 100_000)
    template.organization = "corporate root"
    template.isAuthority = true
    return try CertificateSigner(
      certificate: #require(CertificateSigner.selfSigned(key, template)), key: key.pem)
  }

  @Test("signs with a given intermediate, and says what leads to the root")
  func given() throws {
    let root = try makeRoot()
    try give(root)
    let authority = try make()
    let chain = try authority.certify(makeIdentity("a", "b"), makeRequest(), lasting: 0, at: now)
    #expect(chain.count == 3)
    #expect(chain.last == root.pem)
    #expect(CertificateChain.flaw(of: chain[0], through: chain[1], to: chain[2], at: now) == nil)
    #expect(CertificateChain.flaw(of: chain[0], through: [], to: chain[2], at: now) != nil)
    #expect(!PrivateFile.exists(scratch.path + "/ca/self-signed.pem"))
  }

  @Test("takes over what is given anew, and keeps what it has when that does not fit")
  func reloaded() throws {
    let root = try makeRoot()
    try give(root)
    let authority = try make()
    var changes = 0
    authority.onChange = { changes += 1 }
    authority.look(at: now)
    #expect(changes == 0)
    // The certificate has come, its key not yet.
    let key = scratch.read("ca/ca-key.pem")
    try give(root)
    let newKey = scratch.read("ca/ca-key.pem")
    try scratch.write("ca/ca-key.pem", key)
    authority.look(at: now)
    #expect(changes == 0)
    #expect(authority.counters.refusedReloads == 1)
    let chain = try authority.certify(makeIdentity("a", "b"), makeRequest(), lasting: 0, at: now)
    #expect(CertificateChain.flaw(of: chain[0], through: chain[1], to: root.pem, at: now) == nil)
    try scratch.write("ca/ca-key.pem", newKey)
    authority.look(at: now)
    #expect(changes == 1)
    #expect(authority.counters.reloads == 1)
  }

  @Test("is not what its root does not vouch for")
  func foreignRoot() throws {
    try give(makeRoot())
    try scratch.write("ca/root-cert.pem", makeRoot().pem)
    #expect(throws: FileError.self) { try make() }
  }

  // MARK: Rotation

  @Test("replaces its own root, and is trusted by everybody at every moment")
  func rotation() throws {
    let longest = 100
    let authority = try make(longest: longest, root: 1000)
    let identity = try makeIdentity("a", "b")
    /// What a workload got last: it renews at half life, so its trust is so old at most.
    var held: [(time: Int, chain: [[UInt8]])] = []
    for second in stride(from: 0, through: 1400, by: 10) {
      let time = now + second
      authority.look(at: time)
      held.append(
        (second, try authority.certify(identity, makeRequest(), lasting: longest, at: time)))
      // Whoever renewed half a life ago, and whoever does so now, know each other's root.
      let fresh = try #require(held.last)
      for other in held where second - other.time <= longest / 2 {
        // The root that signs is the first of what is to be trusted.
        let known = CertificateFacts.read(pem: fresh.chain[1]).map(\.digest)
        let old = CertificateFacts.read(pem: other.chain[1]).map(\.digest)
        #expect(try old.contains(#require(known.first)))
        #expect(try known.contains(#require(old.first)))
      }
    }
    #expect(authority.counters.rootRotations == 1)
    let roots = CertificateFacts.read(pem: authority.roots)
    #expect(roots.allSatisfy { $0.notAfter > now + 1400 })
    #expect(scratch.read("ca/root-cert.pem") == authority.roots)
  }
}
