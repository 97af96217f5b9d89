import ResourceModel
import Testing

@testable import Resources

@Suite("The typed tree")
struct ConfigTreeTests {
  static let fault =
    "- {name: f, typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.fault.v3."
    + "HTTPFault, delay: {fixed_delay: 1.5s, percentage: {numerator: 7, denominator: MILLION}}, "
    + "downstreamNodes: [a, b], max_active_faults: 3, disable_downstream_cluster_stats: true}}"

  static let path: ConfigPath = [
    "static_resources", "listeners", "0", "filter_chains", "0", "filters", "0", "typed_config",
    "http_filters", "0", "typed_config",
  ].reduce(ConfigPath.root) { path, name in
    Int(name).map(path.index) ?? path.field(name)
  }

  @Test("a filter module reads its configuration by field names")
  func view() throws {
    let tree = Sample(filters: Self.fault).loaded.tree
    let config = try #require(tree.node(at: Self.path))
    #expect(config.kind == .message && config.isInAny)
    #expect(config.typeName == "envoy.extensions.filters.http.fault.v3.HTTPFault")
    #expect(config.count == 4)
    let delay = try #require(config.field("delay"))
    #expect(delay.field("fixed_delay")?.durationNanoseconds == 1_500_000_000)
    let share = try #require(delay.field("percentage"))
    #expect(share.field("numerator")?.integerValue == 7)
    #expect(share.field("denominator")?.stringValue == "MILLION")
    #expect(share.field("denominator")?.integerValue == 2)
    let nodes = try #require(config.field("downstream_nodes"))
    #expect(nodes.kind == .list && nodes.count == 2)
    #expect(nodes.item(1)?.stringValue == "b")
    #expect(nodes.item(2) == nil)
    #expect(config.field("max_active_faults")?.numberValue == 3)
    #expect(config.field("disable_downstream_cluster_stats")?.boolValue == true)
    #expect(config.field("abort") == nil)
    #expect(config.field("nonsense") == nil)
  }

  @Test("a node is named by its number, and says where it stands")
  func numbers() throws {
    let loaded = Sample(filters: Self.fault).loaded
    let config = try #require(loaded.tree.node(at: Self.path))
    let same = try #require(loaded.tree.node(id: config.id))
    #expect(same.path == Self.path)
    #expect(loaded.tree.node(id: -1) == nil)
    #expect(loaded.tree.node(id: 1_000_000) == nil)
    let item = try #require(config.field("downstream_nodes")?.item(1))
    loaded.diagnostics.error(at: item, "no such node")
    #expect(
      loaded.diagnostics.rendered == [
        "--config-yaml:21:216: \(Self.path).downstream_nodes[1]: no such node"
      ])
  }

  @Test("a later pass reports by path, and gets the nearest line")
  func reportByPath() {
    let loaded = Sample().loaded
    let route = ConfigPath.root.field("static_resources").field("listeners").index(0)
      .field("filter_chains").index(0).field("filters").index(0).field("typed_config")
      .field("route_config").field("virtual_hosts").index(0).field("routes").index(0)
    loaded.diagnostics.error(at: route.field("match").field("prefix"), "a")
    loaded.diagnostics.error(at: route.field("redirect").field("port_redirect"), "b")
    loaded.diagnostics.warning(at: ConfigPath.root.field("admin"), "c")
    #expect(
      loaded.diagnostics.rendered.map { $0.split(separator: ": ").first } == [
        "--config-yaml:2:1", "--config-yaml:17:17", "--config-yaml:17:34",
      ])
    #expect(loaded.diagnostics.errorCount == 2)
  }

  @Test("free-form values keep Envoy's types: whole numbers of 32 bits, else text")
  func freeForm() throws {
    let loaded = BootstrapLoader.load(
      file: nil,
      yaml: "node: {metadata: {a: 1, b: 0.5, c: [true, ~, {d: x}], e: 99999999999, f: '1'}}")
    #expect(loaded.diagnostics.rendered == [])
    let fields = loaded.bootstrap.node.metadata.fields
    #expect(fields["a"]?.numberValue == 1)
    #expect(fields["b"]?.stringValue == "0.5")
    #expect(fields["e"]?.stringValue == "99999999999")
    #expect(fields["f"]?.stringValue == "1")
    let list = try #require(fields["c"]?.listValue.values)
    #expect(list[0].boolValue && list[1].nullValue == .nullValue)
    #expect(list[2].structValue.fields["d"]?.stringValue == "x")
  }

  @Test("free-form values may be as deep as a document")
  func deepFreeForm() {
    let levels = YAMLLimits.depth - 3
    let text =
      "node: {metadata: {a: " + String(repeating: "{a: ", count: levels) + "1"
      + String(repeating: "}", count: levels) + "}}"
    #expect(mistakes(text) == [])
    #expect(mistakes(text.replacing("a: 1", with: "a: {a: 1}")).count == 1)
  }

  @Test("a document laid over another: lists join, messages merge, values are replaced")
  func merge() throws {
    func tree(_ text: String, _ diagnostics: Diagnostics) throws -> ConfigTree {
      TreeBuilder.build(
        try YAMLDocument(Array(text.utf8)),
        type: SchemaCatalog.shared.index(of: "envoy.config.bootstrap.v3.Bootstrap"), file: 0,
        isJSON: false, diagnostics: diagnostics)
    }
    let diagnostics = Diagnostics(files: ["a"])
    let base = try tree(
      """
      node: {id: a, cluster: c, metadata: {x: 1, y: 2}}
      static_resources: {clusters: [{name: one}]}
      admin: {address: {pipe: {path: /tmp/a}}}
      """, diagnostics)
    base.merge(
      try tree(
        """
        node: {id: b, metadata: {y: 3, z: 4}}
        static_resources: {clusters: [{name: two}]}
        admin: {address: {socket_address: {address: 127.0.0.1, port_value: 1}}}
        stats_flush_interval: 2s
        """, diagnostics))
    #expect(!diagnostics.hasErrors)
    let merged = try Envoy_Config_Bootstrap_V3_Bootstrap(
      serializedBytes: MessageWriter(tree: base).message(0))
    #expect(merged.node.id == "b" && merged.node.cluster == "c")
    #expect(merged.node.metadata.fields.mapValues(\.numberValue) == ["x": 1, "y": 3, "z": 4])
    #expect(merged.staticResources.clusters.map(\.name) == ["one", "two"])
    #expect(merged.admin.address.socketAddress.portValue == 1)
    #expect(merged.statsFlushInterval.seconds == 2)
  }
}

@Suite("Suggestions")
struct SuggestionTests {
  @Test(
    "the nearest name is found if it is near",
    arguments: [
      ("conect_timeout", "connect_timeout"), ("nmae", "name"), ("Name", "name"),
      ("xyz", nil), ("", nil), ("connect", nil),
    ] as [(String, String?)])
  func nearest(name: String, expected: String?) {
    let names = ["name", "connect_timeout", "type"]
    #expect(Suggestion.nearest(to: name, among: names) == expected)
  }

  @Test("endless names cost no more than long ones")
  func long() {
    let name = String(repeating: "a", count: 1_000_000)
    #expect(Suggestion.nearest(to: name, among: ["b", name + "c"]) == name + "c")
  }
}

@Suite("The schema")
struct SchemaCatalogTests {
  @Test("every message of the table is found by its name")
  func names() {
    let catalog = SchemaCatalog.shared
    for (index, message) in catalog.messages.enumerated() {
      #expect(catalog.index(ofMessage: message.name) == index)
    }
    #expect(catalog.index(ofMessage: "envoy.config.cluster.v3.Nothing") == nil)
  }

  @Test("every type that an extension point allows exists")
  func extensionPoints() {
    let catalog = SchemaCatalog.shared
    for message in catalog.messages {
      for field in message.fields where field.type == .any {
        let types = ExtensionPoints.types(for: field.name, of: message.name)
        #expect(!types.isEmpty, "\(message.name).\(field.name)")
        #expect(types.allSatisfy { catalog.index(ofMessage: $0) != nil })
      }
    }
  }

  @Test("no name is at once supported and known only to Envoy")
  func envoyNames() {
    for message in SchemaCatalog.shared.messages {
      for field in message.fields {
        #expect(!PublishedNames.envoy.has(field.name, in: message.name))
      }
    }
    #expect(
      PublishedNames.envoy.name(ofField: 19, in: "envoy.config.cluster.v3.Cluster")
        == "outlier_detection")
    #expect(PublishedNames.envoy.name(ofField: 4, in: "envoy.config.cluster.v3.Cluster") == nil)
  }
}
