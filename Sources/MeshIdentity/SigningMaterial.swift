import Resources
import TLS

/// What the authority signs with, and what it has workloads trust.
struct SigningMaterial {
  let signer: CertificateSigner
  /// Between what the signer signs and a root, the signer's own certificate first; empty when that is a
  /// root.
  let chain: [[UInt8]]
  /// All that is trusted, in PEM: the root that vouches for the signer, and others before or after it.
  let roots: [UInt8]
  /// The first of them to end.
  let rootExpiry: Int

  /// Why it cannot be used; a sentence.
  struct Unfit: Error {
    let reason: String
  }

  /// - Parameters:
  ///   - certificate: PEM; the first of a text is what signs.
  ///   - chain: what leads from there to a root, in PEM; may contain the certificate itself, or a root.
  init(certificate: [UInt8], key: [UInt8], chain: [UInt8], roots: [UInt8], at now: Int)
    throws(Unfit)
  {
    do throws(CertificateSigner.Unfit) {
      signer = try CertificateSigner(certificate: certificate, key: key)
    } catch {
      throw Unfit(reason: error.reason)
    }
    let trusted = CertificateFacts.read(pem: roots)
    guard let expiry = trusted.map(\.notAfter).min() else {
      throw Unfit(reason: "there is no root certificate")
    }
    if let flaw = CertificateChain.flaw(of: signer.pem, through: chain, to: roots, at: now) {
      throw Unfit(reason: "the roots do not vouch for the certificate that signs: \(flaw)")
    }
    let known = Set(trusted.map(\.digest))
    var between = CertificateFacts.split(pem: chain).filter { pem in
      CertificateFacts.read(pem: pem).contains { !known.contains($0.digest) }
    }
    if !known.contains(signer.facts.digest), !between.contains(signer.pem) {
      between.insert(signer.pem, at: 0)
    }
    self.chain = between
    self.roots = roots
    rootExpiry = expiry
  }
}

/// The directory in which the authority's certificates and keys lie.
///
/// Either an operator puts there what Istio's secret `cacerts` has (`ca-cert.pem`, `ca-key.pem`,
/// `root-cert.pem`, `cert-chain.pem`), or there is nothing, and the authority makes a root of its own
/// (`self-signed.pem`, and later `self-signed-next.pem`), and writes what workloads have to trust to
/// `root-cert.pem`.
struct AuthorityDirectory {
  let path: String
  let trustDomain: String
  /// How long a root of our own lasts, and a certificate at most.
  let rootSeconds: Int
  let longestSeconds: Int

  private static let given = ["ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem"]
  private var own: String { "\(path)/self-signed.pem" }
  private var next: String { "\(path)/self-signed-next.pem" }
  private var rootFile: String { "\(path)/root-cert.pem" }

  /// The authority is an operator's.
  var isGiven: Bool { PrivateFile.exists("\(path)/ca-cert.pem") }

  /// What is in the files, as far as it takes to notice a change.
  func fingerprint() -> [UInt8] {
    var all: [UInt8] = []
    for name in Self.given + ["self-signed.pem", "self-signed-next.pem"] {
      if case .success(let bytes) = read(name) {
        all += Digest.sha256(bytes)
      } else {
        all.append(0)
      }
    }
    return Digest.sha256(all)
  }

  /// Reads it; makes a root when there is nothing.
  func load(at now: Int) throws(SigningMaterial.Unfit) -> SigningMaterial {
    if isGiven { return try loadGiven(at: now) }
    do throws(FileError) {
      try PrivateFile.makeDirectory(path)
      if !PrivateFile.exists(own) {
        _ = try PrivateFile.create(own, makeRoot(at: now))
      }
      return try loadOwn(at: now)
    } catch {
      throw SigningMaterial.Unfit(reason: error.message)
    }
  }

  private func read(_ name: String) -> Result<[UInt8], FileError> {
    FileReader.read("\(path)/\(name)", atMost: IdentityLimits.fileBytes)
  }

  private func loadGiven(at now: Int) throws(SigningMaterial.Unfit) -> SigningMaterial {
    var texts: [String: [UInt8]] = [:]
    for name in Self.given {
      switch read(name) {
      case .success(let bytes): texts[name] = bytes
      case .failure(let error):
        // A root that signs by itself has no chain.
        guard name != "cert-chain.pem" else { continue }
        throw SigningMaterial.Unfit(reason: error.message)
      }
    }
    return try SigningMaterial(
      certificate: texts["ca-cert.pem"] ?? [], key: texts["ca-key.pem"] ?? [],
      chain: texts["cert-chain.pem"] ?? [], roots: texts["root-cert.pem"] ?? [], at: now)
  }

  // MARK: A root of our own

  private func makeRoot(at now: Int) throws(FileError) -> [UInt8] {
    var template = CertificateTemplate(
      notBefore: now - IdentityLimits.backdatedSeconds, notAfter: now + rootSeconds)
    template.organization = trustDomain
    template.isAuthority = true
    guard let key = PrivateKey(.p256),
      let certificate = CertificateSigner.selfSigned(key, template), !key.pem.isEmpty
    else { throw FileError(message: "a root certificate cannot be made") }
    return key.pem + certificate
  }

  private func loadOwn(at now: Int) throws(FileError) -> SigningMaterial {
    let text = try FileReader.read(own, atMost: IdentityLimits.fileBytes).get()
    var roots = CertificateFacts.split(pem: text)
    if case .success(let bytes) = FileReader.read(next, atMost: IdentityLimits.fileBytes) {
      roots += CertificateFacts.split(pem: bytes)
    }
    // Those that signed before stay trusted until they end.
    if case .success(let bytes) = FileReader.read(rootFile, atMost: IdentityLimits.fileBytes) {
      for pem in CertificateFacts.split(pem: bytes) where !roots.contains(pem) {
        if CertificateFacts.read(pem: pem).contains(where: { $0.notAfter > now }) {
          roots.append(pem)
        }
      }
    }
    let bundle = Array(roots.joined())
    if FileReader.read(rootFile, atMost: IdentityLimits.fileBytes) != .success(bundle) {
      try PrivateFile.write(rootFile, bundle, isPublic: true)
    }
    do throws(SigningMaterial.Unfit) {
      return try SigningMaterial(certificate: text, key: text, chain: [], roots: bundle, at: now)
    } catch {
      throw FileError(message: "'\(own)': \(error.reason)")
    }
  }

  /// Does what is due for a root of our own, and says what that was.
  func rotate(_ material: SigningMaterial, at now: Int) throws(FileError) -> RootRotation.Step {
    guard !isGiven else { return .none }
    var announced: Int?
    if case .success(let bytes) = FileReader.read(next, atMost: IdentityLimits.fileBytes) {
      announced = CertificateFacts.read(pem: bytes).first.map {
        $0.notBefore + IdentityLimits.backdatedSeconds
      }
    }
    let facts = material.signer.facts
    let rotation = RootRotation(
      notBefore: facts.notBefore, notAfter: facts.notAfter, announced: announced)
    let step = rotation.step(at: now, longest: longestSeconds)
    switch step {
    case .none: break
    case .announce: _ = try PrivateFile.create(next, makeRoot(at: now))
    case .promote: try PrivateFile.move(next, over: own)
    }
    return step
  }
}
