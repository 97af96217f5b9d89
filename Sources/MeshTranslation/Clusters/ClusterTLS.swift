import MeshMessages
import MeshModel
import ResourceModel
import SwiftProtobuf

/// What a cluster's connections are secured by.
struct ClusterTLS {
  typealias Cluster = Envoy_Config_Cluster_V3_Cluster
  typealias Context = Envoy_Extensions_TransportSockets_Tls_V3_UpstreamTlsContext

  let service: MeshService
  let port: MeshPort
  let subset: Subset?
  let snapshot: MeshSnapshot
  let node: ProxyNode
  let profile: ClientProfile
  let origin: ObjectID
  /// The rule names the workloads that it is for.
  let isForWorkloads: Bool
  let notes: OmissionNotes

  /// Sets what a rule demands; without one, mutual TLS to those who take it.
  func apply(_ policy: TrafficPolicy, to cluster: inout Cluster) {
    guard policy.hasTls else { return applyAutomatic(to: &cluster) }
    guard profile.isProxy else {
      if policy.tls.mode != .disable {
        notes.note(origin, "trafficPolicy.tls", "the client connects without TLS")
      }
      return
    }
    switch policy.tls.mode {
    case .disable, .UNRECOGNIZED: return
    case .istioMutual:
      guard node.hasCertificate else {
        notes.note(
          origin, "trafficPolicy.tls.mode", "connections fail: the proxy has no certificate")
        return leaveNobody(in: &cluster)
      }
      cluster.transportSocket = mutual(policy.tls)
    case .simple, .mutual:
      guard policy.tls.credentialName.isEmpty || mayHaveCredential else {
        notes.note(
          origin, "trafficPolicy.tls.credentialName",
          node.hasProvenIdentity
            ? "connections fail: a sidecar has it only from a rule with a workloadSelector"
            : "connections fail: the proxy has not come to the secured port")
        return leaveNobody(in: &cluster)
      }
      cluster.transportSocket = socket(originated(policy.tls), &cluster)
    }
  }

  /// Who may ask for what a rule names by `credentialName` (Istio's rule).
  private var mayHaveCredential: Bool {
    node.hasProvenIdentity && (node.role == .router || isForWorkloads)
  }

  /// In the clear would be against the rule, and so would be TLS to whoever answers: there is nobody to
  /// connect to.
  private func leaveNobody(in cluster: inout Cluster) {
    cluster.type = .static
    cluster.lbPolicy = .roundRobin
    cluster.clearEdsClusterConfig()
    cluster.clearLoadAssignment()
  }

  // MARK: Mutual TLS of the mesh

  private func mutual(
    _ tls: Istio_Networking_V1alpha3_ClientTLSSettings = .init()
  ) -> Envoy_Config_Core_V3_TransportSocket {
    let name = ClusterName.serverName(service.hostname, port.number, subset: subset?.name ?? "")
    return MeshTLS(settings: snapshot.settings).upstream(
      accounts: snapshot.identities(of: service).accounts, names: subjectAltNames(tls),
      serverName: tls.sni.isEmpty ? name : tls.sni, port.spoken)
  }

  private func applyAutomatic(to cluster: inout Cluster) {
    guard profile.isProxy, node.hasCertificate, snapshot.settings.usesAutoMutualTLS,
      !service.isExternal, service.resolution != .passthrough
    else { return }
    let raw = Envoy_Config_Core_V3_TransportSocket.with {
      $0.name = "envoy.transport_sockets.raw_buffer"
      $0.typedConfig = .with {
        $0.typeURL =
          "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
      }
    }
    cluster.transportSocketMatches = [
      .with {
        $0.name = "tlsMode-istio"
        $0.match = .init("tlsMode", "istio")
        $0.transportSocket = mutual()
      },
      .with {
        $0.name = "tlsMode-disabled"
        $0.match = .init()
        $0.transportSocket = raw
      },
    ]
  }

  // MARK: TLS of others

  /// TLS that the proxy begins for an application that speaks without.
  private func originated(_ tls: Istio_Networking_V1alpha3_ClientTLSSettings) -> Context {
    var context = Context()
    context.sni = tls.sni
    context.commonTlsContext.tlsParams = .with {
      $0.tlsMinimumProtocolVersion = .tlsv12
      $0.tlsMaximumProtocolVersion = .tlsv13
    }
    if !tls.credentialName.isEmpty {
      setCredential(tls, in: &context)
      return context
    }
    if tls.mode == .mutual {
      context.commonTlsContext.tlsCertificates = [
        .with {
          $0.certificateChain = .with { $0.filename = tls.clientCertificate }
          $0.privateKey = .with { $0.filename = tls.privateKey }
        }
      ]
    }
    if !tls.insecureSkipVerify.value, !tls.caCertificates.isEmpty {
      context.commonTlsContext.validationContext = .with {
        $0.trustedCa = .with { $0.filename = tls.caCertificates }
        $0.matchTypedSubjectAltNames = subjectAltNames(tls).flatMap(matchers)
      }
    }
    return context
  }

  /// What is shown, and whom to believe, is in a Secret.
  private func setCredential(
    _ tls: Istio_Networking_V1alpha3_ClientTLSSettings, in context: inout Context
  ) {
    if tls.mode == .mutual {
      context.commonTlsContext.tlsCertificateSdsSecretConfigs = [
        CredentialReference(tls.credentialName).config
      ]
    }
    guard !tls.insecureSkipVerify.value else { return }
    context.commonTlsContext.combinedValidationContext = .with {
      $0.defaultValidationContext = .with {
        $0.matchTypedSubjectAltNames = subjectAltNames(tls).flatMap(matchers)
      }
      $0.validationContextSdsSecretConfig =
        CredentialReference(tls.credentialName, isTrust: true).config
    }
  }

  private func subjectAltNames(_ tls: Istio_Networking_V1alpha3_ClientTLSSettings) -> [String] {
    tls.subjectAltNames.isEmpty ? service.subjectAltNames : tls.subjectAltNames
  }

  /// A name may be of either type; a certificate needs one.
  private func matchers(
    _ name: String
  ) -> [Envoy_Extensions_TransportSockets_Tls_V3_SubjectAltNameMatcher] {
    let types: [Envoy_Extensions_TransportSockets_Tls_V3_SubjectAltNameMatcher.SanType] =
      name.contains("://") ? [.uri] : [.dns]
    return types.map { type in
      .with {
        $0.sanType = type
        $0.matcher = .with { $0.exact = name }
      }
    }
  }

  private func socket(
    _ context: Context, _ cluster: inout Cluster
  ) -> Envoy_Config_Core_V3_TransportSocket {
    var context = context
    if port.spoken.isHTTP {
      context.commonTlsContext.alpnProtocols = port.spoken.isHTTP2 ? ["h2"] : ["http/1.1"]
    }
    // Who is asked for, and whose certificate is taken, is the request's host where no rule says it.
    if context.sni.isEmpty {
      if port.spoken.isHTTP {
        typealias Options = Envoy_Extensions_Upstreams_Http_V3_HttpProtocolOptions
        let name = Options.protoMessageName
        let known = cluster.typedExtensionProtocolOptions[name].flatMap {
          try? Options(serializedBytes: $0.value)
        }
        var options =
          known ?? .with { $0.explicitHTTPConfig = .with { $0.httpProtocolOptions = .init() } }
        options.upstreamHTTPProtocolOptions.autoSni = true
        let common = context.commonTlsContext
        let combined = common.combinedValidationContext
        options.upstreamHTTPProtocolOptions.autoSanValidation =
          combined.hasValidationContextSdsSecretConfig
          ? combined.defaultValidationContext.matchTypedSubjectAltNames.isEmpty
          : !common.validationContext.trustedCa.filename.isEmpty
            && common.validationContext.matchTypedSubjectAltNames.isEmpty
        cluster.typedExtensionProtocolOptions[name] = options.packed
      } else if !service.hostname.hasPrefix("*") {
        context.sni = service.hostname
      }
    }
    return .with {
      $0.name = "envoy.transport_sockets.tls"
      $0.typedConfig = context.packed
    }
  }
}
