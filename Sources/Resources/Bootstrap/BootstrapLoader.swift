import Glibc
import ResourceModel
import SwiftProtobuf

/// A bootstrap as far as it could be read, and everything that is wrong with it.
package struct LoadedBootstrap {
  /// What remains when refused parts are left out. Fit for use only if there are no errors.
  package var bootstrap: Envoy_Config_Bootstrap_V3_Bootstrap
  /// The same, typed, with its places in the files; filter modules read their part from it.
  package let tree: ConfigTree
  package let diagnostics: Diagnostics
}

/// What the command line says about the node, over what the files say.
package struct NodeOverrides: Sendable {
  package var serviceNode: String?
  package var serviceCluster: String?
  package var serviceZone: String?

  package init(
    serviceNode: String? = nil, serviceCluster: String? = nil, serviceZone: String? = nil
  ) {
    self.serviceNode = serviceNode
    self.serviceCluster = serviceCluster
    self.serviceZone = serviceZone
  }
}

/// One document that a bootstrap is made of.
package struct BootstrapSource: Sendable {
  /// What reports call it.
  package let name: String
  package let bytes: [UInt8]
  /// JSON is read as YAML, but its numbers are numbers also where YAML's would pass as text.
  package let isJSON: Bool

  package init(name: String, bytes: [UInt8], isJSON: Bool = false) {
    self.name = name
    self.bytes = bytes
    self.isJSON = isJSON
  }
}

/// Reads the bootstrap: `-c`, with `--config-yaml` laid over it.
package enum BootstrapLoader {
  /// Reads and checks a file, an inline document, or both. Never fails: what is wrong is in the
  /// diagnostics, all of it.
  package static func load(
    file: String?, yaml: String? = nil, overrides: NodeOverrides = NodeOverrides()
  ) -> LoadedBootstrap {
    var sources: [BootstrapSource] = []
    var unreadable: FileError?
    if let file {
      switch FileReader.read(file, atMost: YAMLLimits.bytes) {
      case .success(let bytes):
        sources.append(
          BootstrapSource(name: file, bytes: bytes, isJSON: file.hasSuffix(".json")))
      case .failure(let error):
        sources.append(BootstrapSource(name: file, bytes: []))
        unreadable = error
      }
    }
    if let yaml {
      sources.append(BootstrapSource(name: "--config-yaml", bytes: Array(yaml.utf8)))
    }
    let loaded = load(sources, overrides: overrides, refusesEmpty: unreadable == nil)
    if let unreadable {
      loaded.diagnostics.report(
        .error, unreadable.message, path: .root, at: SourceLocation(file: 0, line: 0, column: 0))
    }
    return loaded
  }

  /// Reads and checks documents, each laid over those before it.
  /// - Parameter refusesEmpty: that nothing is configured is a mistake of its own; not so where a file
  ///   could not be read, which is told already.
  package static func load(
    _ sources: [BootstrapSource], overrides: NodeOverrides = NodeOverrides(),
    refusesEmpty: Bool = true
  ) -> LoadedBootstrap {
    let diagnostics = Diagnostics(files: sources.map(\.name))
    if sources.isEmpty {
      diagnostics.error(at: .root, "no configuration: give -c or --config-yaml")
    }
    var tree: ConfigTree?
    for (index, source) in sources.enumerated() {
      guard let read = read(source, index: index, diagnostics: diagnostics) else { continue }
      if let base = tree { base.merge(read) } else { tree = read }
    }
    return finish(
      tree, diagnostics: diagnostics, overrides: overrides, refusesEmpty: refusesEmpty)
  }

  private static let message: StaticString = "envoy.config.bootstrap.v3.Bootstrap"

  private static func read(
    _ source: BootstrapSource, index: Int, diagnostics: Diagnostics
  ) -> ConfigTree? {
    do throws(YAMLSyntaxError) {
      let document = try YAMLDocument(source.bytes)
      return TreeBuilder.build(
        document, type: SchemaCatalog.shared.index(of: message), file: index,
        isJSON: source.isJSON,
        diagnostics: diagnostics)
    } catch {
      let place = SourceLocation(file: index, line: error.mark.line, column: error.mark.column)
      diagnostics.report(.error, error.message, path: .root, at: place)
      return nil
    }
  }

  private static func finish(
    _ read: ConfigTree?, diagnostics: Diagnostics, overrides: NodeOverrides, refusesEmpty: Bool
  ) -> LoadedBootstrap {
    let tree =
      read
      ?? ConfigTree(
        type: SchemaCatalog.shared.index(of: message),
        location: SourceLocation(file: 0, line: 0, column: 0))
    diagnostics.tree = tree
    RuleChecker.check(tree, diagnostics: diagnostics)
    var bootstrap = decode(tree, diagnostics: diagnostics)
    if let node = overrides.serviceNode { bootstrap.node.id = node }
    if let cluster = overrides.serviceCluster { bootstrap.node.cluster = cluster }
    if let zone = overrides.serviceZone { bootstrap.node.locality.zone = zone }
    // Without a document there is nothing to be consistent with.
    if refusesEmpty, read?.root.count == 0, !diagnostics.hasErrors {
      diagnostics.error(at: .root, "the configuration is empty")
    }
    if read != nil { BootstrapValidator(diagnostics: diagnostics).validate(bootstrap) }
    return LoadedBootstrap(bootstrap: bootstrap, tree: tree, diagnostics: diagnostics)
  }

  private static func decode(
    _ tree: ConfigTree, diagnostics: Diagnostics
  ) -> Envoy_Config_Bootstrap_V3_Bootstrap {
    do {
      var options = BinaryDecodingOptions()
      // A level of a free-form struct is three messages: struct, entry, value.
      options.messageDepthLimit = YAMLLimits.depth * 3
      return try Envoy_Config_Bootstrap_V3_Bootstrap(
        serializedBytes: MessageWriter(tree: tree).message(0), options: options)
    } catch {
      // The writer's own bytes; only a defect leads here.
      diagnostics.error(at: .root, "internal error: \(error)")
      return Envoy_Config_Bootstrap_V3_Bootstrap()
    }
  }
}
