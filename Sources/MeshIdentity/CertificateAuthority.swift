import Resources
import TLS
import Telemetry

/// Signs certificates for workloads whose identity has been established. Belongs to one thread.
package final class CertificateAuthority {
  /// What is to be signed with, and for whom.
  package struct Options {
    /// See `AuthorityDirectory`.
    package var directory: String
    package var trustDomain = "cluster.local"
    /// Seconds.
    package var defaultSeconds = IdentityLimits.defaultSeconds
    package var longestSeconds = IdentityLimits.mostSeconds
    package var rootSeconds = IdentityLimits.rootSeconds

    package init(directory: String) { self.directory = directory }
  }

  /// Why there is no certificate.
  package enum Refusal: Error, Equatable {
    case request(CertificateRequest.Failure)
    /// More seconds than are given.
    case tooLong(most: Int)
    /// The signing certificate has ended, or does so at once.
    case authorityEnded
    case failed
  }

  private let directory: AuthorityDirectory
  private let options: Options
  private var material: SigningMaterial
  private var fingerprint: [UInt8]
  package var counters = IdentityCounters()
  /// Called when something else signs, or is trusted, from now on.
  package var onChange: () -> Void = {}

  /// Reads the directory, and makes a root when it has none; throws a sentence.
  package init(_ options: Options, at now: Int) throws(FileError) {
    self.options = options
    directory = AuthorityDirectory(
      path: options.directory, trustDomain: options.trustDomain, rootSeconds: options.rootSeconds,
      longestSeconds: options.longestSeconds)
    do throws(SigningMaterial.Unfit) {
      material = try directory.load(at: now)
    } catch {
      throw FileError(message: "'\(options.directory)': \(error.reason)")
    }
    fingerprint = directory.fingerprint()
    countExpiry()
  }

  /// Makes the directory that an authority may be put into.
  package static func makeDirectory(_ path: String) throws(FileError) {
    try PrivateFile.makeDirectory(path)
  }

  package var trustDomain: String { options.trustDomain }

  /// What workloads have to trust, in PEM.
  package var roots: [UInt8] { material.roots }

  /// What a server presents behind its own certificate, in PEM.
  var intermediates: [UInt8] { Array(material.chain.joined()) }

  /// For the log: who signs.
  package var summary: String {
    let kind = directory.isGiven ? "the given authority" : "a root of its own"
    let serial = String(decoding: material.signer.facts.serial.prefix(16), as: UTF8.self)
    return "\(kind), serial number \(serial)…, trust domain '\(options.trustDomain)'"
  }

  // MARK: Signing

  /// A certificate for an identity that has been established: PEM, the leaf first, all roots last.
  /// - Parameters:
  ///   - request: PEM; only its key is used.
  ///   - seconds: how long it is to last; 0 or less: as usual.
  package func certify(
    _ identity: WorkloadIdentity, _ request: [UInt8], lasting seconds: Int, at now: Int
  ) throws(Refusal) -> [[UInt8]] {
    try sign(read(request), for: identity, lasting: seconds, at: now)
  }

  /// Reads a request, and checks what can be checked without knowing who asks.
  package func read(_ request: [UInt8]) throws(Refusal) -> CertificateRequest {
    guard request.count <= IdentityLimits.requestBytes else { throw .request(.unreadable) }
    do throws(CertificateRequest.Failure) {
      return try CertificateRequest(pem: request)
    } catch {
      throw .request(error)
    }
  }

  package func sign(
    _ request: CertificateRequest, for identity: WorkloadIdentity, lasting seconds: Int, at now: Int
  ) throws(Refusal) -> [[UInt8]] {
    var template = try times(lasting: seconds, at: now)
    template.uris = [identity.uri]
    guard let leaf = material.signer.issue(template, for: request) else { throw .failed }
    return [leaf] + material.chain + [material.roots]
  }

  /// A certificate for a key of this process.
  func certify(
    _ key: PrivateKey, _ names: CertificateTemplate, at now: Int
  ) throws(Refusal) -> [UInt8] {
    var template = try times(lasting: 0, at: now)
    template.uris = names.uris
    template.dns = names.dns
    template.addresses = names.addresses
    guard let leaf = material.signer.issue(template, for: key) else { throw .failed }
    return leaf
  }

  private func times(lasting seconds: Int, at now: Int) throws(Refusal) -> CertificateTemplate {
    guard seconds <= options.longestSeconds else { throw .tooLong(most: options.longestSeconds) }
    let lasting = seconds > 0 ? seconds : min(options.defaultSeconds, options.longestSeconds)
    // What outlives its issuer would not be believed for so long.
    let end = min(now + lasting, material.signer.facts.notAfter)
    guard end > now else { throw .authorityEnded }
    return CertificateTemplate(notBefore: now - IdentityLimits.backdatedSeconds, notAfter: end)
  }

  // MARK: Changes

  /// Looks at the files, and at the clock. What does not fit together is refused, and what signed before
  /// signs on.
  package func look(at now: Int) {
    rotate(at: now)
    let newer = directory.fingerprint()
    guard newer != fingerprint || hasEndedRoot(at: now) else { return }
    fingerprint = newer
    do throws(SigningMaterial.Unfit) {
      material = try directory.load(at: now)
      // Reading may have written what is trusted.
      fingerprint = directory.fingerprint()
      counters.reloads += 1
      countExpiry()
      ProcessLog.shared.info(.secret, "the certificate authority has changed: \(summary)")
      onChange()
    } catch {
      counters.refusedReloads += 1
      ProcessLog.shared.error(
        .secret,
        "changed certificate authority refused, the old one stays: '\(options.directory)': "
          + error.reason)
    }
  }

  /// A root of our own that signed before is not to be trusted any longer.
  private func hasEndedRoot(at now: Int) -> Bool {
    !directory.isGiven && material.rootExpiry <= now && material.signer.facts.notAfter > now
  }

  private func rotate(at now: Int) {
    do throws(FileError) {
      switch try directory.rotate(material, at: now) {
      case .none: break
      case .announce:
        ProcessLog.shared.info(.secret, "the next root certificate is trusted from now on")
      case .promote:
        counters.rootRotations += 1
        ProcessLog.shared.info(.secret, "the next root certificate signs from now on")
      }
    } catch {
      ProcessLog.shared.error(.secret, "the root certificate cannot be replaced: \(error.message)")
    }
  }

  private func countExpiry() {
    counters.rootExpiry = material.rootExpiry
    counters.chainExpiry = material.signer.facts.notAfter
  }
}
