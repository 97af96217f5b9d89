/// Reads resources as they travel: an `Any` in protobuf's binary form.
package enum DiscoveryMessage {
  /// The type of a resource is none that we know.
  package struct UnknownType: Error {
    package let description: String
  }

  /// A resource, with whatever is wrong with it; a message of an unknown type is none.
  /// - Parameters:
  ///   - origin: what reports call the sender.
  ///   - unknownFields: whether a field that the model does not have is a mistake or a warning
  ///     (Envoy: `--reject-unknown-dynamic-fields`).
  package static func read(
    typeURL: String, value: [UInt8], origin: String,
    unknownFields: Diagnostic.Severity = .error
  ) throws(UnknownType) -> DiscoveredResource {
    let name = typeURL.split(separator: "/").last.map(String.init) ?? ""
    guard ResourceType(rawValue: name) != nil,
      let type = SchemaCatalog.shared.index(ofMessage: name), typeURL.contains("/")
    else {
      throw UnknownType(
        description: ExtensionPoints.refusal(
          of: name, url: typeURL, allowed: ResourceType.allCases.map(\.rawValue)))
    }
    let diagnostics = Diagnostics(files: [origin])
    let tree = WireTreeBuilder.build(
      value[...], type: type, unknownFields: unknownFields, diagnostics: diagnostics)
    diagnostics.tree = tree
    RuleChecker.check(tree, diagnostics: diagnostics)
    return DiscoveredResource(tree.root, diagnostics: diagnostics)
  }
}
