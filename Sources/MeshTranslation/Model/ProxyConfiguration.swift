import MeshModel
import ResourceModel
import SwiftProtobuf

/// A part of what a proxy is to run, as messages of Envoy's API. Made from the mesh and the proxy's node
/// alone: the same two give the same bytes.
package struct ProxyConfiguration: Sendable {
  package internal(set) var listeners: [Envoy_Config_Listener_V3_Listener] = []
  package internal(set) var routes: [Envoy_Config_Route_V3_RouteConfiguration] = []
  package internal(set) var clusters: [Envoy_Config_Cluster_V3_Cluster] = []
  package private(set) var endpoints: [Envoy_Config_Endpoint_V3_ClusterLoadAssignment] = []
  /// Configurations that filters take by their name.
  package internal(set) var extensions: [Envoy_Config_Core_V3_TypedExtensionConfig] = []
  /// What rules ask for and this client cannot do, by the part that it would have been in.
  package private(set) var omissionsByPart: [ConfigurationParts: [Omission]] = [:]

  /// What rules ask for and this client cannot do.
  package var omissions: [Omission] { Set(omissionsByPart.values.joined()).sorted() }

  /// For the workload's own connections.
  /// - Parameter parts: what is made; a gateway's and a proxyless client's listeners and routes only
  ///   together.
  package static func outbound(
    _ snapshot: MeshSnapshot, for node: ProxyNode, _ parts: ConfigurationParts = .all
  ) -> Self {
    let profile = ClientProfile.of(node.client)
    let scope = OutboundScope(snapshot, for: node)
    var made = ProxyConfiguration()
    if parts.contains(.clusters) {
      made.noting(.clusters) { made, notes in
        made.clusters = OutboundClusters(scope: scope, profile: profile, notes: notes).build()
        if !profile.isProxy { made.clusters.removeAll { !$0.hasEdsClusterConfig } }
      }
    }
    if parts.contains(.endpoints) {
      made.endpoints = EndpointAssignments(scope: scope, profile: profile).build()
    }
    if parts.contains(.listeners) {
      made.noting(.listeners) { made, notes in
        WorkloadTelemetries(of: node.labels, namespace: node.namespace, in: snapshot)
          .note(profile, notes)
        if !profile.isProxy {
          (made.listeners, made.routes) =
            ProxylessListeners(scope: scope, profile: profile, notes: notes).build()
        } else if node.role == .router {
          made.listeners = GatewayListeners(
            scope: scope, servers: GatewayServers(snapshot, for: node), profile: profile,
            notes: notes
          ).build()
        } else {
          made.listeners = OutboundListeners(scope: scope, profile: profile, notes: notes).build()
        }
      }
    }
    if parts.contains(.routes), profile.isProxy {
      made.noting(.routes) { made, notes in
        let outbound = OutboundRoutes(scope: scope, profile: profile, notes: notes)
        if node.role == .router {
          made.routes = GatewayRoutes(
            scope: scope, servers: GatewayServers(snapshot, for: node), outbound: outbound
          ).build()
        } else {
          made.routes = outbound.build()
        }
      }
    }
    if parts == .all {
      made.noting(.extensions) { made, notes in
        made.patch(snapshot, for: node, in: node.outboundContext, notes: notes)
      }
    }
    return made
  }

  private mutating func noting(
    _ part: ConfigurationParts, _ make: (inout Self, OmissionNotes) -> Void
  ) {
    let notes = OmissionNotes()
    make(&self, notes)
    omissionsByPart[part] = notes.all.sorted()
  }

  /// What changes for a workload's own connections when only endpoints have changed: the assignments of
  /// those services that it sees.
  package static func endpoints(
    of services: [MeshService], _ snapshot: MeshSnapshot, for node: ProxyNode
  ) -> [Envoy_Config_Endpoint_V3_ClusterLoadAssignment] {
    let scope = OutboundScope(snapshot, for: node)
    let seen = services.filter { service in
      scope.service(named: service.hostname)?.namespace == service.namespace
    }
    return EndpointAssignments(scope: scope, profile: .of(node.client)).build(seen)
  }

  /// For connections to the workload.
  package static func inbound(_ snapshot: MeshSnapshot, for node: ProxyNode) -> Self {
    let profile = ClientProfile.of(node.client)
    var made = ProxyConfiguration()
    guard profile.isProxy, node.role == .sidecar else { return made }
    let scope = OutboundScope(snapshot, for: node)
    made.noting(.all) { made, notes in
      let inbound = InboundListeners(scope: scope, profile: profile, notes: notes)
      made.clusters = inbound.clusters()
      made.listeners = inbound.build()
      made.patch(
        snapshot, for: node, in: .sidecarInbound, inboundHosts: inbound.hosts, notes: notes)
    }
    return made
  }

  /// What Telemetries ask for and clients of a kind cannot do, whoever they select.
  package static func telemetryOmissions(
    _ snapshot: MeshSnapshot, of client: ProxyNode.Client
  ) -> [Omission] {
    let profile = ClientProfile.of(client)
    let notes = OmissionNotes()
    for rule in snapshot.telemetries {
      var node = ProxyNode(
        id: "", cluster: "", metadata: .init(), userAgent: "", locality: MeshLocality())
      node.namespace = rule.namespace
      node.labels = rule.spec.selector.matchLabels
      WorkloadTelemetries(of: node.labels, namespace: node.namespace, in: snapshot)
        .note(profile, notes)
      for mode in [AccessLogs.Mode.client, .server] where profile.isProxy {
        _ = AccessLogs.logs(mode, snapshot, for: node, profile, notes)
      }
    }
    return notes.all.sorted()
  }
}
