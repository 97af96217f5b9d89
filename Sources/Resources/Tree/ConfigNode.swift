/// A typed view of one part of a configuration: what a filter module is given to read its
/// `typed_config` from.
///
/// Only what was written is there: an absent field is no node, and its default is the reader's.
package struct ConfigNode {
  package let tree: ConfigTree
  /// The node's number, stable as long as the tree lives.
  package let id: Int

  var storage: ConfigTree.Node { tree.nodes[id] }

  package var kind: ConfigKind { storage.kind }

  /// The full name of a message or an enum, such as `envoy.extensions.filters.http.buffer.v3.Buffer`.
  package var typeName: String? {
    switch storage.kind {
    case .message: tree.catalog.messages[storage.type].name
    case .enumeration: tree.catalog.enums[storage.type].name
    default: nil
    }
  }

  /// Whether the message was the content of an `Any`.
  package var isInAny: Bool { storage.isInAny }

  /// How many fields, items or entries there are.
  package var count: Int { storage.children.count }

  /// A field of a message by its protobuf name, or an entry of a map by its key.
  package func field(_ name: String) -> ConfigNode? {
    switch storage.kind {
    case .message:
      let schema = tree.catalog.messages[storage.type]
      guard let position = schema.position(ofField: name) else { return nil }
      return tree.child(of: id, field: position).map { ConfigNode(tree: tree, id: $0) }
    case .map:
      let entry = storage.children.first { tree.nodes[$0].key == name }
      return entry.map { ConfigNode(tree: tree, id: $0) }
    default: return nil
    }
  }

  /// A field, item or entry by its position.
  package func item(_ position: Int) -> ConfigNode? {
    let children = storage.children
    guard children.indices.contains(position) else { return nil }
    return ConfigNode(tree: tree, id: children[position])
  }

  /// The name by which the parent holds this node: a field's name or a map's key.
  package var name: String { tree.schema(of: id)?.name ?? storage.key }

  package var boolValue: Bool? { storage.kind == .bool ? storage.bits != 0 : nil }

  /// A number, or the number of an enum's value.
  package var numberValue: Double? {
    switch storage.kind {
    case .number:
      switch storage.scalar {
      case .double, .float: Double(bitPattern: storage.bits)
      case .uint32, .uint64: Double(storage.bits)
      default: Double(Int64(bitPattern: storage.bits))
      }
    case .enumeration: Double(Int64(bitPattern: storage.bits))
    default: nil
    }
  }

  /// A number without a fraction that fits, or the number of an enum's value.
  package var integerValue: Int64? {
    switch storage.kind {
    case .number:
      switch storage.scalar {
      case .double, .float: Int64(exactly: Double(bitPattern: storage.bits))
      case .uint32, .uint64: Int64(exactly: storage.bits)
      default: Int64(bitPattern: storage.bits)
      }
    case .enumeration: Int64(bitPattern: storage.bits)
    default: nil
    }
  }

  /// Text, or the name of an enum's value.
  package var stringValue: String? {
    storage.kind == .string || storage.kind == .enumeration ? storage.text : nil
  }

  package var bytesValue: [UInt8]? { storage.kind == .bytes ? storage.bytes : nil }

  /// A duration in nanoseconds; `ConfigLimits.durationSeconds` keeps it within 64 bits.
  package var durationNanoseconds: Int64? {
    guard storage.kind == .duration else { return nil }
    return Int64(bitPattern: storage.bits) * 1_000_000_000 + Int64(storage.nanoseconds)
  }

  package var location: SourceLocation { storage.location }

  package var path: ConfigPath {
    guard storage.parent >= 0 else { return .root }
    let parent = ConfigNode(tree: tree, id: storage.parent)
    if let field = tree.schema(of: id) { return parent.path.field(field.name) }
    if parent.kind == .list {
      return parent.path.index(parent.storage.children.firstIndex(of: id) ?? 0)
    }
    return parent.path.key(storage.key)
  }

  func child(along step: ConfigPath) -> ConfigNode? {
    switch step {
    case .root: self
    case .field(_, let name): field(name)
    case .index(_, let position): kind == .list ? item(position) : nil
    case .key(_, let key): kind == .map ? field(key) : nil
    }
  }
}

extension ConfigNode {
  /// The message at this node in protobuf's binary form, for whoever wants the generated type.
  package var serialized: [UInt8] { MessageWriter(tree: tree).message(id) }
}
