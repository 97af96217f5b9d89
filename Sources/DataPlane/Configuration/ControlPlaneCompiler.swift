import GRPC
import ResourceModel
import Resources
import XDSClient

/// How the proxy speaks with a control plane, on a stream for all kinds of resources (`ads_config`) or for
/// one (`api_config_source`).
struct ControlPlaneConfig {
  /// The static cluster that leads there.
  let cluster: String
  let authority: String
  let metadata: RPCFields
  let variant: DiscoveryVariant
  let tellsNodeOnce: Bool
}

/// Where streams of resources lead. A control plane has to be found without a control plane: by a cluster of
/// the bootstrap.
final class StreamSources {
  /// The bootstrap says where the aggregated stream leads.
  private let hasADS: Bool
  private let node: Envoy_Config_Core_V3_Node
  /// The bootstrap's, once all are compiled.
  var clusters: [StaticCluster]?
  /// Sources that were seen before that.
  private var waiting: [(source: Envoy_Config_Core_V3_ApiConfigSource, path: ConfigPath)] = []

  init(_ bootstrap: Envoy_Config_Bootstrap_V3_Bootstrap) {
    hasADS = bootstrap.dynamicResources.hasAdsConfig
    node = bootstrap.node
  }

  /// Reports what cannot work about where resources are to come from.
  func check(
    _ source: Envoy_Config_Core_V3_ConfigSource, at path: ConfigPath, _ diagnostics: Diagnostics
  ) {
    ConfigSourceChecker(diagnostics: diagnostics, hasADS: hasADS).check(source, at: path)
    guard case .apiConfigSource(let stream)? = source.configSourceSpecifier else { return }
    let path = path.field("api_config_source")
    guard let clusters else { return waiting.append((stream, path)) }
    _ = compiler(clusters, diagnostics).compile(stream, at: path)
  }

  /// Checks what was seen before all clusters were known, and compiles `ads_config`; nil when there is
  /// none, or errors were reported.
  func compile(
    _ sources: Envoy_Config_Bootstrap_V3_Bootstrap.DynamicResources, _ context: CompileContext
  ) -> ControlPlaneConfig? {
    let compiler = compiler(clusters ?? [], context.diagnostics)
    for (stream, path) in waiting { _ = compiler.compile(stream, at: path) }
    waiting = []
    guard sources.hasAdsConfig else { return nil }
    return compiler.compile(
      sources.adsConfig, at: ConfigPath.root.field("dynamic_resources").field("ads_config"))
  }

  /// How to speak with whom a source names that has been checked.
  func settings(_ source: Envoy_Config_Core_V3_ApiConfigSource) -> ControlPlaneConfig? {
    compiler(clusters ?? [], Diagnostics(files: [])).compile(source, at: .root)
  }

  private func compiler(
    _ clusters: [StaticCluster], _ diagnostics: Diagnostics
  ) -> ControlPlaneCompiler {
    ControlPlaneCompiler(diagnostics: diagnostics, node: node, clusters: clusters)
  }
}

/// Compiles an `ApiConfigSource`.
struct ControlPlaneCompiler {
  let diagnostics: Diagnostics
  let node: Envoy_Config_Core_V3_Node
  /// The bootstrap's.
  let clusters: [StaticCluster]

  /// Nil when errors were reported that leave nothing to speak with.
  func compile(
    _ source: Envoy_Config_Core_V3_ApiConfigSource, at path: ConfigPath
  ) -> ControlPlaneConfig? {
    if node.id.isEmpty || node.cluster.isEmpty {
      diagnostics.error(
        at: ConfigPath.root.field("node"),
        "a control plane asks for 'id' and 'cluster' (or --service-node and --service-cluster)")
    }
    if source.apiType != .grpc && source.apiType != .deltaGrpc {
      diagnostics.error(at: path.field("api_type"), "expected GRPC or DELTA_GRPC")
    }
    if source.transportApiVersion != .v3 {
      diagnostics.error(at: path.field("transport_api_version"), "expected V3")
    }
    let services = path.field("grpc_services")
    guard source.grpcServices.count == 1, let service = source.grpcServices.first else {
      diagnostics.error(at: services, "expected one service, found \(source.grpcServices.count)")
      return nil
    }
    let name = service.envoyGrpc.clusterName
    checkCluster(name, at: services.index(0).field("envoy_grpc").field("cluster_name"))
    return ControlPlaneConfig(
      cluster: name,
      authority: service.envoyGrpc.authority.isEmpty ? name : service.envoyGrpc.authority,
      metadata: metadata(service, at: services.index(0).field("initial_metadata")),
      variant: source.apiType == .deltaGrpc ? .delta : .stateOfTheWorld,
      tellsNodeOnce: source.setNodeOnFirstMessageOnly)
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
