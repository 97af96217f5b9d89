import ResourceModel
import SwiftProtobuf

/// A resource that has come while the process runs: what it is, where it stands in what was sent, and
/// what is wrong with it.
package struct DiscoveredResource {
  /// The full name of its message.
  package let type: String
  /// Empty when it has none.
  package let name: String
  /// Where it stands in the tree.
  package let path: ConfigPath
  package let tree: ConfigTree
  /// Of this resource alone.
  package let diagnostics: Diagnostics
  /// In protobuf's binary form; two versions with the same bytes are the same.
  package let bytes: [UInt8]
  /// When it was accepted by a process before this one, which has kept it: nanoseconds since 1970. Nil for
  /// what has just come.
  package var storedAt: UInt64?

  /// The resource at a node of a tree.
  init(_ node: ConfigNode, diagnostics: Diagnostics) {
    type = node.typeName ?? ""
    path = node.path
    tree = node.tree
    self.diagnostics = diagnostics
    bytes = node.serialized
    let field = type == ResourceType.endpoints.rawValue ? "cluster_name" : "name"
    name = node.field(field)?.stringValue ?? ""
  }

  /// Where it stands, for whoever shows it.
  package var node: ConfigNode { tree.node(at: path) ?? tree.root }

  /// Nothing wrong has been found with it so far.
  package var isFit: Bool { !diagnostics.hasErrors }

  /// What is wrong with it, a line each.
  package var problems: [String] { diagnostics.rendered }

  /// For a pass that looks at the resource in its own way and tells what it finds apart.
  package var copyOfDiagnostics: Diagnostics { diagnostics.part(below: path) }

  /// The resource as a message; nil, with the reason among the diagnostics, when that is not possible.
  package func decode<Resource: Message>(_ type: Resource.Type) -> Resource? {
    var options = BinaryDecodingOptions()
    options.messageDepthLimit = YAMLLimits.depth * 3
    do {
      return try Resource(serializedBytes: bytes, options: options)
    } catch {
      // The writer's own bytes; only a defect leads here.
      diagnostics.error(at: path, "internal error: \(error)")
      return nil
    }
  }
}

/// The kinds of resources that come while the process runs, by their messages.
package enum ResourceType: String, CaseIterable {
  case clusters = "envoy.config.cluster.v3.Cluster"
  case endpoints = "envoy.config.endpoint.v3.ClusterLoadAssignment"
  case listeners = "envoy.config.listener.v3.Listener"
  case routes = "envoy.config.route.v3.RouteConfiguration"
  case secrets = "envoy.extensions.transport_sockets.tls.v3.Secret"
  case extensions = "envoy.config.core.v3.TypedExtensionConfig"
}

/// One answer of whoever sends resources: everything that it sent, of one kind.
package struct DiscoveredSet {
  package let version: String
  package let resources: [DiscoveredResource]
  /// The names of those that are gone; nil when that is all that are not in the answer.
  package let removed: [String]?
  /// Names of others that are there as they were.
  package let kept: Set<String>
  /// It is what a process before this one has kept, and nobody has just sent it.
  package let isStored: Bool

  package init(
    version: String, resources: [DiscoveredResource], removed: [String]? = nil,
    kept: Set<String> = [], isStored: Bool = false
  ) {
    self.version = version
    self.resources = resources
    self.removed = removed
    self.kept = kept
    self.isStored = isStored
  }

  /// Those of the names in force that are gone, in order.
  package func removed(of inForce: some Sequence<String>) -> [String] {
    if let removed { return Set(removed).intersection(inForce).sorted() }
    return Set(inForce).subtracting(resources.map(\.name)).subtracting(kept).sorted()
  }
}

/// Why one resource of an answer is not taken over.
package struct Refusal: CustomStringConvertible {
  /// What the resource calls itself.
  package let name: String
  /// Each with its place.
  package let reasons: [String]

  package init(name: String, reasons: [String]) {
    self.name = name
    self.reasons = reasons
  }

  /// For whoever sent the resource.
  package var description: String { "\(name): " + reasons.joined(separator: "; ") }
}
