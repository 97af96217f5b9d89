import Testing

@testable import Resources

/// The corpus has a bootstrap with nearly every field. Real Envoy takes it as well.
@Suite("Every field")
struct EveryFieldTests {
  private static let file =
    String(
      #filePath.prefix(
        upTo: #filePath.range(of: "Tests/Resources")?.lowerBound ?? #filePath.endIndex))
    + "fuzz/config/corpus/everything.yaml"

  /// What that file leaves out: the other choice of a oneof, what Envoy has deprecated, and ours.
  private static let others: Set<String> = [
    "envoy.config.accesslog.v3.AccessLogFilter.runtime_filter"
  ]

  @Test("is taken, by us as by Envoy")
  func everything() {
    let loaded = BootstrapLoader.load(file: Self.file)
    #expect(!loaded.diagnostics.hasErrors)
    #expect(loaded.diagnostics.all.allSatisfy { $0.message == "deprecated by Envoy" })
    #expect(loaded.bootstrap.staticResources.clusters.count == 3)
  }

  @Test("stands in the file, or is known not to")
  func coverage() {
    let tree = BootstrapLoader.load(file: Self.file).tree
    var missing: Set<String> = []
    for message in tree.catalog.messages {
      missing.formUnion(message.fields.map { message.name + "." + $0.name })
    }
    for id in tree.nodes.indices {
      guard let field = tree.schema(of: id) else { continue }
      let message = tree.catalog.messages[tree.nodes[tree.nodes[id].parent].type]
      missing.remove(message.name + "." + field.name)
    }
    #expect(missing.subtracting(Self.others) == [])
  }
}
