import MeshModel
import ResourceModel
import SwiftProtobuf

/// Mutual TLS between proxies of the mesh, as Istio has it: the proxy's own certificate and whom it trusts
/// come from the control plane, by their names.
struct MeshTLS {
  typealias Common = Envoy_Extensions_TransportSockets_Tls_V3_CommonTlsContext
  typealias SecretConfig = Envoy_Extensions_TransportSockets_Tls_V3_SdsSecretConfig
  typealias Matcher = Envoy_Extensions_TransportSockets_Tls_V3_SubjectAltNameMatcher
  typealias Socket = Envoy_Config_Core_V3_TransportSocket

  /// What those say in ALPN who begin mutual TLS for requests, and for bytes.
  static let requestProtocols = ["istio-http/1.0", "istio-http/1.1", "istio-h2"]
  static let byteProtocols = ["istio-peer-exchange", "istio"]

  let settings: MeshSettings

  private var domains: [String] { [settings.trustDomain] + settings.trustDomainAliases }

  /// In front of a workload: its clients show a certificate of the mesh.
  func downstream(isHTTP: Bool) -> Socket {
    var common = common(anyOfTheMesh)
    common.alpnProtocols = (isHTTP ? [] : ["istio-peer-exchange"]) + ["h2", "http/1.1"]
    let context = Envoy_Extensions_TransportSockets_Tls_V3_DownstreamTlsContext.with {
      $0.commonTlsContext = common
      $0.requireClientCertificate = .init(true)
    }
    return Self.socket(context.packed)
  }

  /// From a workload to those of a service.
  /// - Parameters:
  ///   - accounts: `ns/…/sa/…` of those who serve it; empty when nobody is known: then anybody of the mesh.
  ///   - names: whose certificate a rule demands in their place.
  func upstream(
    accounts: Set<String>, names: [String], serverName: String, _ spoken: PortProtocol
  ) -> Socket {
    let known = names.isEmpty ? identities(accounts) : names
    var common = common(known.isEmpty ? anyOfTheMesh : known.map(Self.exactly))
    // The first says what is going to be spoken, where the other side would have to find out.
    common.alpnProtocols =
      spoken.isHTTP2
      ? ["istio-h2", "istio", "h2"]
      : spoken.isHTTP ? ["istio-http/1.1", "istio", "http/1.1"] : Self.byteProtocols
    let context = Envoy_Extensions_TransportSockets_Tls_V3_UpstreamTlsContext.with {
      $0.commonTlsContext = common
      $0.sni = serverName
    }
    return Self.socket(context.packed)
  }

  private func identities(_ accounts: Set<String>) -> [String] {
    accounts.sorted().flatMap { account in domains.map { "spiffe://\($0)/\(account)" } }
  }

  private var anyOfTheMesh: [Matcher] {
    domains.map { domain in
      .with {
        $0.sanType = .uri
        $0.matcher = .with { $0.prefix = "spiffe://\(domain)/" }
      }
    }
  }

  private static func exactly(_ name: String) -> Matcher {
    .with {
      $0.sanType = name.contains("://") ? .uri : .dns
      $0.matcher = .with { $0.exact = name }
    }
  }

  private func common(_ names: [Matcher]) -> Common {
    .with {
      $0.tlsParams = .with {
        $0.tlsMinimumProtocolVersion = .tlsv12
        $0.tlsMaximumProtocolVersion = .tlsv13
      }
      $0.tlsCertificateSdsSecretConfigs = [Self.secret("default")]
      $0.combinedValidationContext = .with {
        $0.defaultValidationContext = .with { $0.matchTypedSubjectAltNames = names }
        $0.validationContextSdsSecretConfig = Self.secret("ROOTCA")
      }
    }
  }

  private static func secret(_ name: String) -> SecretConfig {
    .with {
      $0.name = name
      $0.sdsConfig = .fromControlPlane
    }
  }

  private static func socket(_ context: Google_Protobuf_Any) -> Socket {
    .with {
      $0.name = "envoy.transport_sockets.tls"
      $0.typedConfig = context
    }
  }
}
