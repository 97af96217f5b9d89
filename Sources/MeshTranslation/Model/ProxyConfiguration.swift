import MeshModel
import ResourceModel
import SwiftProtobuf

/// A part of what a proxy is to run, as messages of Envoy's API. Made from the mesh and the proxy's node
/// alone: the same two give the same bytes.
package struct ProxyConfiguration: Sendable {
  package private(set) var listeners: [Envoy_Config_Listener_V3_Listener] = []
  package private(set) var routes: [Envoy_Config_Route_V3_RouteConfiguration] = []
  package private(set) var clusters: [Envoy_Config_Cluster_V3_Cluster] = []
  package private(set) var endpoints: [Envoy_Config_Endpoint_V3_ClusterLoadAssignment] = []
  /// What rules ask for and this client cannot do.
  package private(set) var omissions: [Omission] = []

  /// For the workload's own connections.
  package static func outbound(_ snapshot: MeshSnapshot, for node: ProxyNode) -> Self {
    let profile = ClientProfile.of(node.client)
    let notes = OmissionNotes()
    let scope = OutboundScope(snapshot, for: node)
    var made = ProxyConfiguration()
    made.clusters = OutboundClusters(scope: scope, profile: profile, notes: notes).build()
    made.endpoints = EndpointAssignments(scope: scope, profile: profile).build()
    if profile.isProxy, node.role == .router {
      let servers = GatewayServers(snapshot, for: node)
      made.listeners = GatewayListeners(
        scope: scope, servers: servers, profile: profile, notes: notes
      ).build()
      made.routes = GatewayRoutes(
        scope: scope, servers: servers,
        outbound: OutboundRoutes(scope: scope, profile: profile, notes: notes)
      ).build()
    } else if profile.isProxy {
      made.listeners = OutboundListeners(scope: scope, profile: profile, notes: notes).build()
      made.routes = OutboundRoutes(scope: scope, profile: profile, notes: notes).build()
    } else {
      (made.listeners, made.routes) =
        ProxylessListeners(scope: scope, profile: profile, notes: notes).build()
      made.clusters.removeAll { !$0.hasEdsClusterConfig }
    }
    made.omissions = notes.all.sorted()
    return made
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
    let notes = OmissionNotes()
    let scope = OutboundScope(snapshot, for: node)
    let inbound = InboundListeners(scope: scope, profile: profile, notes: notes)
    made.clusters = inbound.clusters()
    made.listeners = inbound.build()
    made.omissions = notes.all.sorted()
    return made
  }
}
