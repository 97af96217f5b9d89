import ResourceModel

/// Reads a file that holds a `DiscoveryResponse`, in YAML or JSON.
package enum DiscoveryFile {
  /// The file is no such answer as a whole; what is wrong with a single resource is its own.
  package struct Unreadable: Error {
    package let reasons: [String]
    /// It could be read, but says what an answer may not say.
    package let isRefusal: Bool
  }

  /// What the file holds, resource by resource.
  package static func read(_ path: String) throws(Unreadable) -> DiscoveredSet {
    let bytes: [UInt8]
    switch FileReader.read(path, atMost: YAMLLimits.bytes) {
    case .success(let content): bytes = content
    case .failure(let error): throw Unreadable(reasons: [error.message], isRefusal: false)
    }
    return try parse(bytes, name: path)
  }

  /// The same for what the file would hold.
  package static func parse(
    _ bytes: [UInt8], name: String
  ) throws(Unreadable) -> DiscoveredSet {
    let diagnostics = Diagnostics(files: [name])
    let document: YAMLDocument
    do throws(YAMLSyntaxError) {
      document = try YAMLDocument(bytes)
    } catch {
      let place = SourceLocation(file: 0, line: error.mark.line, column: error.mark.column)
      diagnostics.report(.error, error.message, path: .root, at: place)
      throw Unreadable(reasons: diagnostics.rendered, isRefusal: false)
    }
    let tree = TreeBuilder.build(
      document,
      type: SchemaCatalog.shared.index(of: "envoy.service.discovery.v3.DiscoveryResponse"), file: 0,
      isJSON: name.hasSuffix(".json"), diagnostics: diagnostics)
    diagnostics.tree = tree
    RuleChecker.check(tree, diagnostics: diagnostics)
    let list = tree.root.field("resources")
    let resources = (0..<(list?.count ?? 0)).compactMap { list?.item($0) }
      .filter { $0.kind == .message }
    let parts = resources.map { diagnostics.part(below: $0.path) }
    // What belongs to no resource is wrong with the answer.
    let errors = parts.reduce(0) { $0 + $1.errorCount }
    guard diagnostics.errorCount == errors else {
      throw Unreadable(reasons: diagnostics.rendered, isRefusal: true)
    }
    return DiscoveredSet(
      version: tree.root.field("version_info")?.stringValue ?? "",
      resources: zip(resources, parts).map { DiscoveredResource($0, diagnostics: $1) })
  }
}
