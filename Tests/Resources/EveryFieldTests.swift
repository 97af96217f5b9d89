import Testing

@testable import Resources

/// The fuzzer's corpus has bootstraps that together use every field. Real Envoy takes them as well,
/// but for `own.yaml`.
@Suite("Every field")
struct EveryFieldTests {
  static let files = [
    "ads.yaml", "dynamic.yaml", "everything.yaml", "listeners.yaml", "more.yaml", "own.yaml",
    "rbac.yaml",
    "tls.yaml",
  ]

  private func load(_ file: String) -> LoadedBootstrap {
    // The repository is three folders above this file.
    let root = #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 }
    return BootstrapLoader.load(file: root + "/fuzz/config/corpus/" + file)
  }

  @Test("is taken, with a warning where Envoy has deprecated it", arguments: files)
  func taken(file: String) {
    let loaded = load(file)
    #expect(loaded.diagnostics.all.filter { $0.message != "deprecated by Envoy" } == [])
    #expect(loaded.bootstrap.staticResources.listeners.count == (file == "ads.yaml" ? 0 : 1))
  }

  @Test("stands in one of the files")
  func coverage() throws {
    var missing: Set<String> = []
    for message in SchemaCatalog.shared.messages {
      missing.formUnion(message.fields.map { message.name + "." + $0.name })
    }
    let discovered = try DiscoveryFile.parse(
      Array(
        """
        version_info: "1"
        type_url: type.googleapis.com/envoy.config.route.v3.RouteConfiguration
        nonce: "1"
        control_plane: {identifier: mine}
        resources:
        - {"@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration, name: local}
        - "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
          name: one
          type: EDS
          eds_cluster_config: {eds_config: {ads: {}}, service_name: other}
        """.utf8), name: "routes.yaml"
    ).resources.map(\.tree)
    for tree in Self.files.map({ load($0).tree }) + discovered {
      for id in tree.nodes.indices {
        guard let field = tree.schema(of: id) else { continue }
        let message = tree.catalog.messages[tree.nodes[tree.nodes[id].parent].type]
        missing.remove(message.name + "." + field.name)
      }
    }
    #expect(missing == [])
  }
}
