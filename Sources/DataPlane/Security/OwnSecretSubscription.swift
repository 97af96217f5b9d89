import CLinux
import IdentityClient
import ResourceModel
import Resources
import Telemetry

/// What the process makes itself of the secrets that Istio's configuration names, in place of an agent
/// that would serve them.
enum OwnSecret: String {
  /// The workload's certificate and its key.
  case certificate = "default"
  /// Whom the mesh trusts.
  case roots = "ROOTCA"

  /// The resource, as the control plane would send it.
  func message(
    of issued: IdentityClient.Issued
  ) -> Envoy_Extensions_TransportSockets_Tls_V3_Secret {
    func text(_ bytes: [UInt8]) -> Envoy_Config_Core_V3_DataSource {
      .with { $0.inlineString = String(decoding: bytes, as: UTF8.self) }
    }
    return .with {
      $0.name = rawValue
      switch self {
      case .certificate:
        $0.tlsCertificate.certificateChain = text(issued.chain)
        $0.tlsCertificate.privateKey = text(issued.key)
      case .roots: $0.validationContext.trustedCa = text(issued.roots)
      }
    }
  }
}

/// One of the secrets that `OwnCertificate` has: follows it as others are followed that come from
/// elsewhere. Main thread.
final class OwnSecretSubscription: Subscription {
  private let secret: OwnSecret
  private let own: OwnCertificate
  private let stats: SubscriptionStats
  private let subscriber: Subscriber
  private var number: Int?

  init(
    _ secret: OwnSecret, of own: OwnCertificate, stats: SubscriptionStats, subscriber: Subscriber
  ) {
    self.secret = secret
    self.own = own
    self.stats = stats
    self.subscriber = subscriber
  }

  deinit { number.map(own.leave) }

  func start() {
    guard number == nil else { return }
    number = own.follow { [weak self] in self?.update($0) }
  }

  private func update(_ issued: IdentityClient.Issued) {
    stats.countAttempt()
    let start = fl_monotonic_ns()
    guard let bytes: [UInt8] = try? secret.message(of: issued).serializedBytes(),
      let resource = try? DiscoveryMessage.read(
        typeURL: "type.googleapis.com/" + ResourceType.secrets.rawValue, value: bytes,
        origin: "own certificate")
    else { return stats.countFailure() }
    let version = String(issued.facts.notBefore)
    let refusals = subscriber.update(DiscoveredSet(version: version, resources: [resource]))
    stats.recordDuration(fl_monotonic_ns() &- start)
    guard refusals.isEmpty else {
      stats.countRejected()
      for refusal in refusals { refusal.log(by: "own certificate") }
      return
    }
    stats.countSuccess(version: version)
  }
}
