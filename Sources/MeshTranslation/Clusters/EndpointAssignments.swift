import MeshMessages
import MeshModel
import ResourceModel
import SwiftProtobuf

/// Where the workloads of clusters are.
struct EndpointAssignments {
  typealias Assignment = Envoy_Config_Endpoint_V3_ClusterLoadAssignment

  let scope: OutboundScope
  let profile: ClientProfile

  /// One for each cluster that asks for its endpoints.
  func build() -> [Assignment] { build(scope.services) }

  /// Those of some services.
  func build(_ services: [MeshService]) -> [Assignment] {
    var found: [Assignment] = []
    for service in services where service.resolution == .endpoints {
      let rule = scope.destinationRule(for: service)
      for port in service.ports where port.spoken != .udp {
        found.append(
          assignment(
            of: ClusterName.outbound(service.hostname, port.number), service, port, nil, rule))
        for subset in rule?.subsets ?? [] {
          let name = ClusterName.outbound(service.hostname, port.number, subset: subset.name)
          found.append(assignment(of: name, service, port, subset, rule))
        }
      }
    }
    return found
  }

  /// The endpoints of one cluster, those that are not ready left out.
  func assignment(
    of cluster: String, _ service: MeshService, _ port: MeshPort, _ subset: Subset?,
    _ rule: EffectiveRule? = nil
  ) -> Assignment {
    let endpoints = scope.snapshot.registry.endpoints(of: service, port: port.number).filter {
      $0.isReady && $0.labels.contains(labels: subset?.labels ?? [:])
    }
    let groups = Dictionary(grouping: endpoints, by: \.locality)
      .sorted { one, other in
        (one.key.region, one.key.zone, one.key.subzone)
          < (other.key.region, other.key.zone, other.key.subzone)
      }
    var localities = groups.map { locality, endpoints in
      LocalityGroup(locality: locality, endpoints: endpoints)
    }
    if let setting = localitySetting(service, port, subset, rule) {
      LocalityPreference(setting: setting, origin: scope.node.locality, labels: scope.node.labels)
        .apply(to: &localities)
    }
    return .with {
      $0.clusterName = cluster
      $0.endpoints = localities.map(message)
    }
  }

  /// Nearness counts when a rule detects outliers, or the service itself asks for it (Istio: without
  /// ejection nothing would ever go elsewhere).
  private func localitySetting(
    _ service: MeshService, _ port: MeshPort, _ subset: Subset?, _ rule: EffectiveRule?
  ) -> Istio_Networking_V1alpha3_LocalityLoadBalancerSetting? {
    let policy = rule?.policy(port: port.number, subset: subset) ?? TrafficPolicy()
    var setting = scope.snapshot.settings.localityLB ?? .init()
    if policy.loadBalancer.hasLocalityLbSetting {
      setting = policy.loadBalancer.localityLbSetting
    }
    if setting.hasEnabled, !setting.enabled.value { return nil }
    guard policy.hasOutlierDetection || service.prefersClose || !setting.distribute.isEmpty else {
      return nil
    }
    return setting
  }

  private func message(_ group: LocalityGroup) -> Envoy_Config_Endpoint_V3_LocalityLbEndpoints {
    let base = Envoy_Config_Endpoint_V3_LocalityLbEndpoints.with {
      $0.locality = .with {
        $0.region = group.locality.region
        $0.zone = group.locality.zone
        $0.subZone = group.locality.subzone
      }
      $0.lbEndpoints = group.endpoints.map(message)
      $0.priority = group.priority
    }
    guard profile.weighsLocalities else { return base }
    // gRPC drops a locality without a weight.
    let weight = group.weight ?? UInt32(clamping: group.endpoints.count)
    return base.adding(
      Fairlead_Mesh_Envoy_V1_LocalityMore.with { $0.loadBalancingWeight = .init(max(weight, 1)) })
  }

  private func message(_ endpoint: MeshEndpoint) -> Envoy_Config_Endpoint_V3_LbEndpoint {
    let base = Envoy_Config_Endpoint_V3_LbEndpoint.with {
      $0.endpoint = .with { $0.address = .socket(endpoint.address, endpoint.port) }
      if endpoint.weight > 0 { $0.loadBalancingWeight = .init(endpoint.weight) }
      if profile.isProxy { $0.healthStatus = .healthy }
    }
    guard profile.matchesSockets, scope.snapshot.takesMutualTLS(endpoint) else { return base }
    var secured = base
    secured.metadata.filterMetadata["envoy.transport_socket_match"] = .init("tlsMode", "istio")
    return secured
  }
}

extension Envoy_Config_Core_V3_Address {
  /// An address and a port; a path is that of a Unix socket.
  static func socket(_ address: String, _ port: UInt32) -> Envoy_Config_Core_V3_Address {
    .with {
      if address.hasPrefix("unix://") {
        $0.pipe = .with { $0.path = String(address.dropFirst("unix://".count)) }
      } else {
        $0.socketAddress = .with {
          $0.address = address
          $0.portValue = port
        }
      }
    }
  }
}
