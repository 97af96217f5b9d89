import AdminHTTP
import MeshTranslation
import Resources

/// What a client is to run, in the shape of Envoy's `/config_dump`.
enum ClientDump {
  private typealias Members = [(name: String, value: AdminJSON)]

  /// Of one client.
  static func dump(_ stream: DiscoveryStream, _ server: MeshServer) -> AdminJSON {
    guard let node = stream.node else { return .object([]) }
    let set = server.source.resources(for: node)
    typealias TypeURL = ResourceSet.TypeURL
    return .object([
      (
        "configs",
        .array([
          section("ClustersConfigDump", "dynamic_active_clusters", set.all(of: TypeURL.cluster)) {
            [("cluster", $0)]
          },
          section("ListenersConfigDump", "dynamic_listeners", set.all(of: TypeURL.listener)) {
            [("active_state", .object([("listener", $0)]))]
          },
          section("RoutesConfigDump", "dynamic_route_configs", set.all(of: TypeURL.routes)) {
            [("route_config", $0)]
          },
          section(
            "EndpointsConfigDump", "dynamic_endpoint_configs", set.all(of: TypeURL.endpoints)
          ) { [("endpoint_config", $0)] },
          section("EcdsConfigDump", "ecds_filters", set.all(of: TypeURL.extensionConfig)) {
            [("ecds_filter", $0)]
          },
        ])
      )
    ])
  }

  private static func section(
    _ name: String, _ list: String, _ resources: [ServedResource],
    _ members: (AdminJSON) -> Members
  ) -> AdminJSON {
    .object([
      ("@type", .string("type.googleapis.com/envoy.admin.v3.\(name)")),
      (
        list,
        .array(
          resources.map { resource in
            .object([("version_info", .string(resource.version))] + members(json(resource)))
          })
      ),
    ])
  }

  /// A resource as people read it.
  static func json(_ resource: ServedResource) -> AdminJSON {
    let name = resource.message.typeURL.split(separator: "/").last.map(String.init) ?? ""
    // With all that Envoy has: filters that only it has, and what EnvoyFilters set.
    let tree = PatchSchema.reader.tree(of: Array(resource.message.value), as: name)
    return tree.map { ConfigJSON.json($0.root, named: true) } ?? .null
  }
}
