import AdminHTTP
import Engine
import Resources

/// `/config_dump`: the configuration as it was read, in the shape of Envoy's admin API. Written from
/// the typed tree, in which every `Any` is the message that it contains.
struct ConfigDump {
  let tree: ConfigTree
  /// When the static configuration was loaded.
  let lastUpdated: String
  /// What has come since.
  let routes: [Resource]
  let activeClusters: [Resource]
  let warmingClusters: [Resource]
  let endpoints: [Resource]
  /// Of the last whole answer with clusters.
  let clustersVersion: String
  let listeners: [DynamicListener]
  let listenersVersion: String
  let extensions: [Resource]
  let activeSecrets: [Secret]
  let warmingSecrets: [Secret]

  typealias Members = [(name: String, value: AdminJSON)]

  /// One of the dump's messages: its plain fields, and its lists of resources.
  struct Part {
    let kind: String
    var plain: Members = []
    var lists: [List] = []
  }

  /// A resource that has come while the process runs.
  struct Resource {
    let node: ConfigNode
    let version: String
    let lastUpdated: String
  }

  /// A list of resources of one kind; `element` is the message of an item, which holds the resource
  /// in its field `member`.
  struct List {
    let name: String
    let element: String
    let member: String
    var resources: [ConfigNode] = []
    var dynamic: [Resource] = []
    var listeners: [DynamicListener] = []
    var secrets: [Secret] = []
  }

  /// A secret that comes by itself; nil while it has not.
  struct Secret {
    let name: String
    var resource: Resource?
  }

  /// A listener that has come while the process runs: what serves, what waits, and what was refused.
  struct DynamicListener {
    let name: String
    var active: Resource?
    var warming: Resource?
    var failure: (resource: Resource, details: String)?
  }

  /// Every part, in Envoy's order.
  var parts: [Part] {
    [
      Part(
        kind: "BootstrapConfigDump",
        plain: [("bootstrap", Self.json(tree.root)), ("last_updated", .string(lastUpdated))]),
      Part(
        kind: "ClustersConfigDump", plain: version(clustersVersion),
        lists: [
          List(
            name: "static_clusters", element: "StaticCluster", member: "cluster",
            resources: resources("clusters")),
          List(
            name: "dynamic_active_clusters", element: "DynamicCluster", member: "cluster",
            dynamic: activeClusters),
          List(
            name: "dynamic_warming_clusters", element: "DynamicCluster", member: "cluster",
            dynamic: warmingClusters),
        ]),
      Part(
        kind: "EcdsConfigDump",
        lists: [
          List(
            name: "ecds_filters", element: "EcdsFilterConfig", member: "ecds_filter",
            dynamic: extensions)
        ]),
      Part(
        kind: "ListenersConfigDump", plain: version(listenersVersion),
        lists: [
          List(
            name: "static_listeners", element: "StaticListener", member: "listener",
            resources: resources("listeners")),
          List(
            name: "dynamic_listeners", element: "DynamicListener", member: "listener",
            listeners: listeners),
        ]),
      Part(kind: "ScopedRoutesConfigDump"),
      Part(
        kind: "RoutesConfigDump",
        lists: [
          List(
            name: "static_route_configs", element: "StaticRouteConfig", member: "route_config",
            resources: routeConfigs),
          List(
            name: "dynamic_route_configs", element: "DynamicRouteConfig",
            member: "route_config", dynamic: routes),
        ]),
      Part(
        kind: "SecretsConfigDump",
        lists: [
          List(
            name: "static_secrets", element: "StaticSecret", member: "secret",
            secrets: resources("secrets").map { node in
              Secret(
                name: node.field("name")?.stringValue ?? "",
                resource: Resource(node: node, version: "", lastUpdated: ""))
            }),
          List(
            name: "dynamic_active_secrets", element: "DynamicSecret", member: "secret",
            secrets: activeSecrets),
          List(
            name: "dynamic_warming_secrets", element: "DynamicSecret", member: "secret",
            secrets: warmingSecrets),
        ]),
    ]
  }

  /// The items of a list whose resource has a name that fits.
  func items(_ list: List, named fits: ((String) -> Bool)?) -> [Members] {
    let isWanted = { (node: ConfigNode) in
      let name = (node.field("name") ?? node.field("cluster_name"))?.stringValue
      return fits?(name ?? "") ?? true
    }
    let fixed = list.resources.filter(isWanted).map { node -> Members in
      [(list.member, Self.json(node, named: true)), ("last_updated", .string(lastUpdated))]
    }
    let dynamic = list.dynamic.filter { isWanted($0.node) }.map { resource -> Members in
      version(resource.version) + [
        (list.member, Self.json(resource.node, named: true)),
        ("last_updated", .string(resource.lastUpdated)),
      ]
    }
    return fixed + dynamic
      + list.listeners.filter { fits?($0.name) ?? true }
      .map { members(of: $0) }
      + list.secrets.filter { fits?($0.name) ?? true }.map { members(of: $0) }
  }

  private func members(of secret: Secret) -> Members {
    guard let resource = secret.resource else {
      // Envoy's words.
      return [
        ("name", .string(secret.name)), ("version_info", .string("uninitialized")),
        (
          "secret",
          .object([
            ("@type", .string("type.googleapis.com/" + ResourceType.secrets.rawValue)),
            ("name", .string(secret.name)),
          ])
        ),
      ]
    }
    // As in Envoy, those of the bootstrap do not say since when.
    let updated: Members =
      resource.lastUpdated.isEmpty ? [] : [("last_updated", .string(resource.lastUpdated))]
    return [("name", .string(secret.name))] + version(resource.version) + updated + [
      ("secret", Self.json(resource.node, named: true))
    ]
  }

  private func members(of listener: DynamicListener) -> Members {
    func state(_ name: String, _ resource: Resource?) -> Members {
      guard let resource else { return [] }
      return [
        (
          name,
          .object(
            version(resource.version) + [
              ("listener", Self.json(resource.node, named: true)),
              ("last_updated", .string(resource.lastUpdated)),
            ])
        )
      ]
    }
    let failure: Members =
      listener.failure.map { resource, details in
        [
          (
            "error_state",
            .object(
              [
                ("failed_configuration", Self.json(resource.node, named: true)),
                ("last_update_attempt", .string(resource.lastUpdated)),
                ("details", .string(details)),
              ] + version(resource.version))
          )
        ]
      } ?? []
    return [("name", .string(listener.name))] + state("active_state", listener.active)
      + state("warming_state", listener.warming) + failure
  }

  private func version(_ text: String) -> Members {
    text.isEmpty ? [] : [("version_info", .string(text))]
  }

  /// The part that only `include_eds` asks for.
  var endpointsPart: Part {
    Part(
      kind: "EndpointsConfigDump",
      lists: [
        List(
          name: "static_endpoint_configs", element: "StaticEndpointConfig",
          member: "endpoint_config",
          resources: resources("clusters").compactMap { $0.field("load_assignment") }),
        List(
          name: "dynamic_endpoint_configs", element: "DynamicEndpointConfig",
          member: "endpoint_config", dynamic: endpoints),
      ])
  }

  private func resources(_ name: String) -> [ConfigNode] {
    tree.root.field("static_resources")?.field(name)?.items ?? []
  }

  private var routeConfigs: [ConfigNode] {
    resources("listeners").flatMap { $0.field("filter_chains")?.items ?? [] }
      .flatMap { $0.field("filters")?.items ?? [] }
      .compactMap { $0.field("typed_config")?.field("route_config") }
  }

  /// A part of the configuration in protobuf's JSON, with the published names of fields.
  /// - Parameter named: the message says its type, as if it were in an `Any`.
  static func json(_ node: ConfigNode, named: Bool = false) -> AdminJSON {
    ConfigJSON.json(node, named: named)
  }
}

extension ConfigDump.Resource {
  init(_ accepted: AcceptedResource) {
    node = accepted.resource.node
    version = accepted.version
    lastUpdated = RFC3339.text(nanoseconds: accepted.acceptedAt)
  }
}

extension ConfigDump {
  init(_ server: Server, lastUpdated: String) {
    tree = server.config.tree
    self.lastUpdated = lastUpdated
    routes = server.routes.all.compactMap { $0.accepted.map(Resource.init) }
    let clusters = server.clusterDiscovery?.accepted.sorted { $0.key < $1.key } ?? []
    let warming = server.clusters?.warming ?? [:]
    activeClusters = clusters.filter { warming[$0.key] == nil }.map { Resource($0.value) }
    warmingClusters = clusters.filter { warming[$0.key] != nil }.map { Resource($0.value) }
    clustersVersion = server.clusterDiscovery?.version ?? ""
    listenersVersion = server.listenerDiscovery?.version ?? ""
    listeners = Self.listeners(of: server)
    extensions = server.filters.all.compactMap { $0.accepted.map(Resource.init) }
    let secrets = server.secrets.all.map { subscription in
      Secret(
        name: subscription.key.name, resource: subscription.accepted.map { Resource($0) })
    }
    activeSecrets = secrets.filter { $0.resource != nil }
    warmingSecrets = secrets.filter { $0.resource == nil }
    let all = (server.clusters?.active ?? []).compactMap(\.self)
    endpoints = all.compactMap { cluster in
      (cluster.follower as? EndpointSubscription)?.accepted.map(Resource.init)
    }
  }

  private static func listeners(of server: Server) -> [DynamicListener] {
    guard let discovery = server.listenerDiscovery else { return [] }
    let warming = server.listeners.warmingNames
    let names = Set(discovery.accepted.keys).union(discovery.failures.keys)
    return names.sorted().map { name in
      var listener = DynamicListener(name: name)
      let accepted = discovery.accepted[name].map { Resource($0) }
      if warming.contains(name) { listener.warming = accepted } else { listener.active = accepted }
      listener.failure = discovery.failures[name].map { failure in
        (
          Resource(
            node: failure.resource.node, version: failure.version,
            lastUpdated: RFC3339.text(nanoseconds: failure.at)),
          failure.reasons.joined(separator: "\n")
        )
      }
      return listener
    }
  }
}
