import GRPC
import ResourceModel
import Telemetry

/// What the client of a stream is sent of its own: a certificate of the identity that it has proved, and
/// whom it is to trust. Made when it first asks, and with a key of its own: two proxies of one identity
/// share none.
struct StreamSecrets {
  typealias Secret = Envoy_Extensions_TransportSockets_Tls_V3_Secret

  /// The names by which Istio's proxies ask.
  static let certificate = "default"
  static let roots = "ROOTCA"

  let caller: ControlPlane.Caller
  /// What there is of it.
  private(set) var layer = ResourceLayer([:])
  private var credential: ControlPlane.Credential?
  private var trusted: [UInt8] = []
  private var wanted: Set<String> = []
  private var revision: UInt64?
  /// After a failure, when to try again, in seconds since 1970.
  private var retry = 0

  private static let retrySeconds = 10

  init(_ caller: ControlPlane.Caller) { self.caller = caller }

  /// The client asks for secrets of these names.
  mutating func want(_ names: [String]) {
    wanted.formUnion(names.filter { [Self.certificate, Self.roots].contains($0) })
  }

  /// Makes what is asked for and missing, or due. Whether there is something else to send.
  /// - Parameters:
  ///   - roots: what is to be trusted, in PEM.
  ///   - current: another number whenever something else signs, or is trusted.
  mutating func look(at now: Int, roots: () -> [UInt8], revision current: UInt64) -> Bool {
    guard !wanted.isEmpty, now >= retry else { return false }
    let isOther = current != revision
    var hasChanged = false
    if wanted.contains(Self.roots), isOther || trusted.isEmpty {
      let roots = roots()
      hasChanged = roots != trusted
      trusted = roots
    }
    if wanted.contains(Self.certificate),
      isOther || credential == nil || now >= credential?.renewal ?? 0
    {
      do throws(RPCStatus) {
        credential = try caller.makeCredential()
        hasChanged = true
      } catch {
        // What was sent before is good for as long as it lasts.
        retry = now + Self.retrySeconds
        ProcessLog.shared.error(.secret, "no certificate for \(caller.identity): \(error.message)")
      }
    }
    if retry <= now { revision = current }
    if hasChanged { layer = ResourceLayer([ResourceSet.TypeURL.secret: resources], after: layer) }
    return hasChanged
  }

  private var resources: [ServedResource] {
    var secrets: [Secret] = []
    if let credential {
      secrets.append(
        .with {
          $0.name = Self.certificate
          $0.tlsCertificate = .with {
            $0.certificateChain = .with { $0.inlineBytes = .init(credential.chain) }
            $0.privateKey = .with { $0.inlineBytes = .init(credential.key) }
          }
        })
    }
    if !trusted.isEmpty {
      secrets.append(
        .with {
          $0.name = Self.roots
          $0.validationContext = .with {
            $0.trustedCa = .with { $0.inlineBytes = .init(trusted) }
          }
        })
    }
    return secrets.compactMap { secret in
      // Of bytes that were made here; only a defect could make a message that is not written.
      guard let bytes: [UInt8] = try? secret.serializedBytes() else { return nil }
      return ServedResource(type: ResourceSet.TypeURL.secret, name: secret.name, bytes: bytes)
    }
  }
}
