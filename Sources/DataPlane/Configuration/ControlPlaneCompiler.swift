import GRPC
import ResourceModel
import Resources
import XDSClient

/// How the proxy speaks with its control plane (`ads_config`).
struct ControlPlaneConfig {
  /// The static cluster that leads there.
  let cluster: String
  let authority: String
  let metadata: RPCFields
  let variant: DiscoveryVariant
  let tellsNodeOnce: Bool
}

/// Compiles `dynamic_resources.ads_config`: the control plane has to be found without the control plane.
struct ControlPlaneCompiler {
  let context: CompileContext
  /// The bootstrap's.
  let clusters: [StaticCluster]

  private var diagnostics: Diagnostics { context.diagnostics }

  /// Nil when there is none, or errors were reported.
  func compile(
    _ sources: Envoy_Config_Bootstrap_V3_Bootstrap.DynamicResources
  ) -> ControlPlaneConfig? {
    guard sources.hasAdsConfig else { return nil }
    let ads = sources.adsConfig
    let path = ConfigPath.root.field("dynamic_resources").field("ads_config")
    if context.node.id.isEmpty || context.node.cluster.isEmpty {
      diagnostics.error(
        at: ConfigPath.root.field("node"),
        "a control plane asks for 'id' and 'cluster' (or --service-node and --service-cluster)")
    }
    if ads.apiType != .grpc && ads.apiType != .deltaGrpc {
      diagnostics.error(at: path.field("api_type"), "expected GRPC or DELTA_GRPC")
    }
    if ads.transportApiVersion != .v3 {
      diagnostics.error(at: path.field("transport_api_version"), "expected V3")
    }
    let services = path.field("grpc_services")
    guard ads.grpcServices.count == 1, let service = ads.grpcServices.first else {
      diagnostics.error(at: services, "expected one service, found \(ads.grpcServices.count)")
      return nil
    }
    let name = service.envoyGrpc.clusterName
    checkCluster(name, at: services.index(0).field("envoy_grpc").field("cluster_name"))
    return ControlPlaneConfig(
      cluster: name,
      authority: service.envoyGrpc.authority.isEmpty ? name : service.envoyGrpc.authority,
      metadata: metadata(service, at: services.index(0).field("initial_metadata")),
      variant: ads.apiType == .deltaGrpc ? .delta : .stateOfTheWorld,
      tellsNodeOnce: ads.setNodeOnFirstMessageOnly)
  }

  private func checkCluster(_ name: String, at path: ConfigPath) {
    guard let cluster = clusters.first(where: { $0.message.name == name }) else {
      return diagnostics.error(
        at: path,
        "no static cluster is called '\(name)'"
          + Suggestion.phrase(for: name, among: clusters.map(\.message.name)))
    }
    if cluster.compiled.config.value.discovery == .assigned {
      diagnostics.error(at: path, "the endpoints of '\(name)' would come from where it leads to")
    }
    if cluster.compiled.config.value.http.speaks != .http2 {
      diagnostics.error(at: path, "gRPC needs http2_protocol_options in the cluster '\(name)'")
    }
    if cluster.compiled.config.value.announcement != nil {
      diagnostics.error(
        at: path, "the PROXY header of '\(name)' is not supported towards a control plane")
    }
  }

  /// Fields that every stream begins with.
  private func metadata(
    _ service: Envoy_Config_Core_V3_GrpcService, at path: ConfigPath
  ) -> RPCFields {
    var fields: RPCFields = []
    for (index, field) in service.initialMetadata.enumerated() {
      let place = path.index(index)
      if field.key.isEmpty || field.key.hasPrefix(":") || field.key.hasSuffix("-bin") {
        diagnostics.error(at: place.field("key"), "expected the name of a text field")
      }
      if field.value.contains("%") {
        diagnostics.error(at: place.field("value"), "substitution is not supported here")
      }
      fields.add(field.key.lowercased(), field.value)
    }
    return fields
  }
}
