/// What a node of a configuration holds.
package enum ConfigKind: Int32, Sendable {
  /// A null inside free-form values.
  case null = 0
  case bool = 1
  case number = 2
  case string = 3
  case bytes = 4
  case duration = 5
  /// A value of an enum: a name and a number.
  case enumeration = 6
  case list = 7
  /// A map with string keys, or a free-form struct.
  case map = 8
  /// A message; what an `Any` contains is a message too.
  case message = 9
  /// Something was written here and refused.
  case invalid = 10
}

/// A configuration, typed: every node knows what it is, by which message or enum, and where it
/// stood. Built by `TreeBuilder` from YAML; rules are checked on it, bytes are written from it, and
/// filter modules read their own part of it through `ConfigNode`.
///
/// Nodes are numbered, so that a node can be named across a C boundary by its number.
package final class ConfigTree {
  struct Node {
    var kind: ConfigKind
    var location: SourceLocation
    /// The node this one is in; -1 for the root.
    var parent: Int
    /// The field of the parent, by position in its schema; -1 for items and entries.
    var field: Int
    /// The key of an entry of a map.
    var key = ""
    /// The message or the enum, by its index in the catalog.
    var type = -1
    /// The message stands inside an `Any`.
    var isInAny = false
    /// The message was written with a field that it does not have: perhaps the one it lacks.
    var hasUnknownField = false
    /// A scalar: the bits of a boolean, an integer, a double, an enum's number; a duration's
    /// seconds.
    var bits: UInt64 = 0
    /// How `bits` holds a number.
    var scalar = ScalarType.double
    /// A duration's part below the second.
    var nanoseconds: Int32 = 0
    /// Text of a string or the name of an enum's value.
    var text = ""
    var bytes: [UInt8] = []
    /// Fields, items or entries, in the order in which they were written.
    var children: [Int] = []
  }

  let catalog: SchemaCatalog
  private(set) var nodes: [Node] = []

  /// The outermost message.
  package var root: ConfigNode { ConfigNode(tree: self, id: 0) }

  /// A node by its number, such as a module gave it back; nothing if there is none.
  package func node(id: Int) -> ConfigNode? {
    nodes.indices.contains(id) ? ConfigNode(tree: self, id: id) : nil
  }

  /// The node at a path, if something stands there.
  package func node(at path: ConfigPath) -> ConfigNode? {
    var at = root
    for step in path.steps {
      guard let next = at.child(along: step) else { return nil }
      at = next
    }
    return at
  }

  /// The node at a path, or else the nearest above it.
  func nearestNode(at path: ConfigPath) -> ConfigNode {
    var at = root
    for step in path.steps {
      guard let next = at.child(along: step) else { return at }
      at = next
    }
    return at
  }

  init(type: Int, location: SourceLocation, catalog: SchemaCatalog = .shared) {
    self.catalog = catalog
    nodes = [Node(kind: .message, location: location, parent: -1, field: -1, type: type)]
  }

  /// Adds a node below its parent.
  func add(_ node: Node) -> Int {
    let id = nodes.count
    nodes.append(node)
    if node.parent >= 0 { nodes[node.parent].children.append(id) }
    return id
  }

  func markUnknownField(in id: Int) { nodes[id].hasUnknownField = true }

  func setLocation(_ location: SourceLocation, of id: Int) { nodes[id].location = location }

  /// The field that a child of a message is.
  func schema(of id: Int) -> FieldSchema? {
    let node = nodes[id]
    guard node.parent >= 0, node.field >= 0 else { return nil }
    return catalog.messages[nodes[node.parent].type].fields[node.field]
  }

  /// The child of a message for a field, by the field's position.
  func child(of id: Int, field: Int) -> Int? {
    nodes[id].children.first { nodes[$0].field == field }
  }

  // MARK: Replacing

  /// Takes a message's field out.
  func drop(field: Int, in target: Int) {
    keep(in: target) { $0.field != field }
  }

  /// Takes the fields of a oneof out, but for one of them.
  func drop(ofOneof oneof: Int, butField field: Int, in target: Int) {
    let fields = catalog.messages[nodes[target].type].fields
    keep(in: target) { $0.field == field || fields[$0.field].oneof != oneof }
  }

  /// Takes an entry out of a map.
  func drop(key: String, in target: Int) {
    keep(in: target) { $0.key != key }
  }

  private func keep(in target: Int, _ belongs: (Node) -> Bool) {
    let kept = nodes[target].children.filter { belongs(nodes[$0]) }
    nodes[target].children = kept
  }

  // MARK: Merging

  /// Lays another tree over this one, as `--config-yaml` is laid over the file: lists are joined,
  /// messages merged field by field, entries of maps and everything else replaced.
  func merge(_ other: ConfigTree) { merge(other, 0, into: 0) }

  private func merge(_ other: ConfigTree, _ source: Int, into target: Int) {
    for child in other.nodes[source].children {
      let node = other.nodes[child]
      let known = nodes[target].children.first { existing in
        nodes[target].kind == .message
          ? nodes[existing].field == node.field : nodes[existing].key == node.key
      }
      guard let known else {
        if nodes[target].kind == .message { dropOthers(ofOneofWith: node.field, in: target) }
        graft(other, child, below: target)
        continue
      }
      let mine = nodes[known]
      if mine.kind == .list, node.kind == .list {
        for item in node.children { graft(other, item, below: known) }
      } else if (mine.kind == .message && node.kind == .message && mine.type == node.type
        && !node.isInAny) || (mine.kind == .map && node.kind == .map && node.field >= 0)
      {
        merge(other, child, into: known)
      } else {
        remove(known, from: target)
        graft(other, child, below: target)
      }
    }
  }

  private func dropOthers(ofOneofWith field: Int, in target: Int) {
    let fields = catalog.messages[nodes[target].type].fields
    guard let oneof = fields[field].oneof else { return }
    let stale = nodes[target].children.filter { fields[nodes[$0].field].oneof == oneof }
    for child in stale { remove(child, from: target) }
  }

  private func remove(_ child: Int, from target: Int) {
    nodes[target].children.removeAll { $0 == child }
  }

  private func graft(_ other: ConfigTree, _ source: Int, below target: Int) {
    var node = other.nodes[source]
    let children = node.children
    node.parent = target
    node.children = []
    let id = add(node)
    for child in children { graft(other, child, below: id) }
  }
}
