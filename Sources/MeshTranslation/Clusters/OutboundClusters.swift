import MeshMessages
import MeshModel
import ResourceModel
import SwiftProtobuf

/// The clusters by which a proxy calls services: for each port of each service that it sees one, and one
/// for each subset.
struct OutboundClusters {
  typealias Cluster = Envoy_Config_Cluster_V3_Cluster

  let scope: OutboundScope
  let profile: ClientProfile
  let notes: OmissionNotes

  private var settings: MeshSettings { scope.snapshot.settings }

  func build() -> [Cluster] {
    var clusters: [Cluster] = []
    for service in scope.services {
      let rule = scope.destinationRule(for: service)
      for port in service.ports where port.spoken != .udp {
        clusters.append(cluster(service, port, subset: nil, rule))
        for subset in rule?.subsets ?? [] {
          clusters.append(cluster(service, port, subset: subset, rule))
        }
      }
    }
    guard profile.isProxy else { return clusters }
    return clusters + [Self.blackHole, passthrough]
  }

  private func cluster(
    _ service: MeshService, _ port: MeshPort, subset: Subset?, _ rule: EffectiveRule?
  ) -> Cluster {
    let policy = rule?.policy(port: port.number, subset: subset) ?? TrafficPolicy()
    let name = ClusterName.outbound(service.hostname, port.number, subset: subset?.name ?? "")
    var cluster = Cluster.with {
      $0.name = name
      $0.connectTimeout = settings.connectTimeout
    }
    setDiscovery(of: &cluster, service, port, subset)
    ClusterPolicy(
      origin: rule?.origin ?? service.origin, profile: profile, settings: settings, notes: notes
    ).apply(policy, to: &cluster, port)
    ClusterTLS(
      service: service, port: port, subset: subset, snapshot: scope.snapshot, node: scope.node,
      profile: profile, origin: rule?.origin ?? service.origin,
      isForWorkloads: rule?.isForWorkloads ?? false, notes: notes
    ).apply(policy, to: &cluster)
    if profile.readsMetadata { cluster = cluster.adding(metadata(service, subset, rule)) }
    return cluster
  }

  private func setDiscovery(
    of cluster: inout Cluster, _ service: MeshService, _ port: MeshPort, _ subset: Subset?
  ) {
    switch service.resolution {
    case .endpoints:
      cluster.type = .eds
      cluster.edsClusterConfig = .with {
        $0.edsConfig = .fromControlPlane
        $0.serviceName = cluster.name
      }
    case .dns, .dnsRoundRobin:
      cluster.type = service.resolution == .dns ? .strictDns : .logicalDns
      cluster.dnsLookupFamily = .v4Only
      cluster.dnsRefreshRate = settings.dnsRefreshRate
      cluster.respectDnsTtl = true
      cluster.loadAssignment = EndpointAssignments(
        scope: scope, profile: profile
      ).assignment(of: cluster.name, service, port, subset)
    case .passthrough:
      cluster.type = .originalDst
      cluster.lbPolicy = .clusterProvided
    }
  }

  private func metadata(
    _ service: MeshService, _ subset: Subset?, _ rule: EffectiveRule?
  ) -> Fairlead_Mesh_Envoy_V1_ClusterMore {
    var istio = Google_Protobuf_Struct()
    if let rule {
      istio.fields["config"] = .with { $0.stringValue = rule.origin.istioPath }
    }
    if let subset { istio.fields["subset"] = .with { $0.stringValue = subset.name } }
    var one = Google_Protobuf_Struct()
    one.fields["host"] = .with { $0.stringValue = service.hostname }
    one.fields["name"] = .with { $0.stringValue = service.name }
    one.fields["namespace"] = .with { $0.stringValue = service.namespace }
    istio.fields["services"] = .with {
      $0.listValue = .with { $0.values = [.with { $0.structValue = one }] }
    }
    return .with { $0.metadata = .with { $0.filterMetadata["istio"] = istio } }
  }

  // MARK: What every proxy has

  /// Where requests end that may not go anywhere.
  static let blackHole = Cluster.with {
    $0.name = ClusterName.blackHole
    $0.type = .static
    $0.connectTimeout = .init(seconds: 10)
  }

  private var passthrough: Cluster {
    .with {
      $0.name = ClusterName.passthrough
      $0.type = .originalDst
      $0.lbPolicy = .clusterProvided
      $0.connectTimeout = settings.connectTimeout
      $0.circuitBreakers = ClusterPolicy.unboundedBreakers
    }
  }
}

extension Envoy_Config_Core_V3_ConfigSource {
  /// The stream on which the resource came.
  static let fromControlPlane = Envoy_Config_Core_V3_ConfigSource.with {
    $0.ads = .init()
    $0.resourceApiVersion = .v3
    // Envoy's default is 15 s; the control plane always answers, and a proxy that goes on without an
    // answer serves what is wrong (Istio: 0).
    $0.initialFetchTimeout = .init()
  }
}

extension ObjectID {
  /// `/apis/networking.istio.io/v1/namespaces/default/virtual-service/reviews`: how Istio's metadata
  /// names an object.
  package var istioPath: String {
    var words = ""
    for letter in kind.rawValue {
      if letter.isUppercase, !words.isEmpty { words += "-" }
      words += letter.lowercased()
    }
    return "/apis/\(kind.apiVersion)/namespaces/\(namespace)/\(words)/\(name)"
  }
}
