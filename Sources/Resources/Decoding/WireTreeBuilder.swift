/// Walks a message in protobuf's binary form with the schema and builds the typed tree, as
/// `TreeBuilder` does from a document: what came over the network and what was written by hand are
/// checked, compiled and shown by the same code.
///
/// Where a field stands twice the last one counts and messages are merged, as protobuf says.
final class WireTreeBuilder {
  private let tree: ConfigTree
  private let diagnostics: Diagnostics
  /// What a field is that the model does not have: the sender may be newer, or speak to others too.
  private let unknownFields: Diagnostic.Severity
  /// The keys of each map, so that a map with many is not searched for each.
  private var keys: [Int: Set<String>] = [:]

  private init(_ tree: ConfigTree, _ diagnostics: Diagnostics, _ unknownFields: Diagnostic.Severity)
  {
    self.tree = tree
    self.diagnostics = diagnostics
    self.unknownFields = unknownFields
  }

  private var catalog: SchemaCatalog { tree.catalog }
  private static let nowhere = SourceLocation(file: 0, line: 0, column: 0)

  /// Builds the tree of a message of this type.
  static func build(
    _ bytes: ArraySlice<UInt8>, type: Int, unknownFields: Diagnostic.Severity,
    diagnostics: Diagnostics, catalog: SchemaCatalog = .shared
  ) -> ConfigTree {
    let tree = ConfigTree(type: type, location: nowhere, catalog: catalog)
    WireTreeBuilder(tree, diagnostics, unknownFields)
      .buildFields(bytes, into: 0, path: .root, depth: 1)
    return tree
  }

  // MARK: Messages

  /// Where a value goes.
  private struct Holder {
    let parent: Int
    let field: Int
    var key = ""
    let path: ConfigPath
    let depth: Int
  }

  private func buildFields(
    _ bytes: ArraySlice<UInt8>, into id: Int, path: ConfigPath, depth: Int
  ) {
    guard depth <= YAMLLimits.depth else {
      return report(path, "nested deeper than the limit of \(YAMLLimits.depth) levels")
    }
    do throws(WireError) {
      var reader = WireReader(bytes)
      while !diagnostics.isFull, let field = try reader.next() {
        buildField(field, into: id, path: path, depth: depth)
      }
    } catch {
      report(path, "no message in binary form: \(error.message)")
    }
  }

  private func buildField(_ field: WireField, into id: Int, path: ConfigPath, depth: Int) {
    let schema = catalog.messages[tree.nodes[id].type]
    guard let position = schema.fields.firstIndex(where: { $0.number == field.number }) else {
      return reportUnknown(field.number, of: schema, in: id, path: path)
    }
    let known = schema.fields[position]
    let path = path.field(known.name)
    if known.isDeprecated, tree.child(of: id, field: position) == nil {
      diagnostics.report(.warning, "deprecated by Envoy", path: path, at: Self.nowhere)
    }
    if let oneof = known.oneof { tree.drop(ofOneof: oneof, butField: position, in: id) }
    let holder = Holder(parent: id, field: position, path: path, depth: depth)
    switch known.cardinality {
    case .single:
      // A message goes on where the first part of it ended; everything else is replaced.
      if case .message = known.type, let first = tree.child(of: id, field: position),
        tree.nodes[first].kind == .message, case .bytes(let bytes) = field.content
      {
        return buildFields(bytes, into: first, path: path, depth: depth + 1)
      }
      tree.drop(field: position, in: id)
      build(field.content, as: known.type, in: holder)
    case .list: buildItems(field.content, of: known, in: holder)
    case .map: buildEntry(field.content, of: known, in: holder)
    }
  }

  private func build(_ content: WireField.Content, as type: ValueType, in holder: Holder) {
    switch type {
    case .scalar(let scalar): buildScalar(content, as: scalar, in: holder)
    case .wrapper(let scalar):
      guard let fields = message(content, holder) else { return }
      let value = fields.last { $0.number == 1 }?.content
      buildScalar(value ?? Self.zero(of: scalar), as: scalar, in: holder)
    case .enumeration(let index): buildEnumeration(content, index, in: holder)
    case .duration: buildDuration(content, in: holder)
    case .structure: buildStructure(content, in: holder)
    case .value: buildValue(content, in: holder)
    case .any: buildAny(content, in: holder)
    case .message(let index):
      guard case .bytes(let bytes) = content else { return refuseKind(holder) }
      let id = add(.message, holder, type: index)
      buildFields(bytes, into: id, path: holder.path, depth: holder.depth + 1)
    }
  }

  // MARK: Lists and maps

  private func buildItems(
    _ content: WireField.Content, of field: FieldSchema, in holder: Holder
  ) {
    let list =
      tree.child(of: holder.parent, field: holder.field) ?? add(.list, holder)
    for item in unpacked(content, field.type, holder) where !diagnostics.isFull {
      let place = Holder(
        parent: list, field: -1, path: holder.path.index(tree.nodes[list].children.count),
        depth: holder.depth + 1)
      build(item, as: field.type, in: place)
    }
  }

  /// Numbers may come packed, as one field.
  private func unpacked(
    _ content: WireField.Content, _ type: ValueType, _ holder: Holder
  ) -> [WireField.Content] {
    guard case .bytes(let bytes) = content else { return [content] }
    switch type {
    case .scalar(.int32), .scalar(.int64), .scalar(.uint32), .scalar(.uint64), .scalar(.bool),
      .enumeration:
      do throws(WireError) {
        return try WireReader.varints(bytes).map { .varint($0) }
      } catch {
        report(holder.path, "no list of numbers: \(error.message)")
        return []
      }
    default: return [content]
    }
  }

  private func buildEntry(_ content: WireField.Content, of field: FieldSchema, in holder: Holder) {
    guard let fields = message(content, holder) else { return }
    let map = tree.child(of: holder.parent, field: holder.field) ?? add(.map, holder)
    var key = ""
    if case .bytes(let bytes)? = fields.last(where: { $0.number == 1 })?.content {
      guard let text = text(bytes, holder.path) else { return }
      key = text
    }
    dropTwin(of: key, in: map)
    let place = Holder(
      parent: map, field: -1, key: key, path: holder.path.key(key), depth: holder.depth + 1)
    build(fields.last { $0.number == 2 }?.content ?? .bytes([]), as: field.type, in: place)
  }

  private func dropTwin(of key: String, in map: Int) {
    if !keys[map, default: []].insert(key).inserted { tree.drop(key: key, in: map) }
  }

  // MARK: Scalars

  private static func zero(of scalar: ScalarType) -> WireField.Content {
    switch scalar {
    case .double: .fixed64(0)
    case .float: .fixed32(0)
    case .string, .bytes: .bytes([])
    case .int32, .int64, .uint32, .uint64, .bool: .varint(0)
    }
  }

  private func buildScalar(
    _ content: WireField.Content, as scalar: ScalarType, in holder: Holder
  ) {
    var node = blank(.number, holder)
    node.scalar = scalar
    switch (scalar, content) {
    case (.bool, .varint(let number)):
      node.kind = .bool
      node.bits = number == 0 ? 0 : 1
    case (.uint32, .varint(let number)): node.bits = UInt64(UInt32(truncatingIfNeeded: number))
    case (.int32, .varint(let number)):
      node.bits = UInt64(bitPattern: Int64(Int32(truncatingIfNeeded: number)))
    case (.uint64, .varint(let number)), (.int64, .varint(let number)): node.bits = number
    case (.double, .fixed64(let bits)): node.bits = bits
    case (.float, .fixed32(let bits)): node.bits = Double(Float(bitPattern: bits)).bitPattern
    case (.bytes, .bytes(let bytes)):
      node.kind = .bytes
      node.bytes = Array(bytes)
    case (.string, .bytes(let bytes)):
      guard let text = text(bytes, holder.path) else { return }
      node.kind = .string
      node.text = text
    default: return refuseKind(holder)
    }
    _ = tree.add(node)
  }

  private func buildEnumeration(
    _ content: WireField.Content, _ index: Int, in holder: Holder
  ) {
    guard case .varint(let bits) = content else { return refuseKind(holder) }
    let number = Int32(truncatingIfNeeded: bits)
    let schema = catalog.enums[index]
    guard let value = schema.values.first(where: { $0.number == number }) else {
      let name = UInt32(exactly: number).flatMap {
        PublishedNames.envoy.name(ofField: $0, in: schema.name)
      }
      return refuse(
        holder,
        name.map { "value '\($0)' is known to Envoy, not supported by Fairlead" }
          ?? "no value \(number) in \(schema.name)")
    }
    var node = blank(.enumeration, holder)
    node.type = index
    node.bits = UInt64(bitPattern: Int64(number))
    node.text = value.name
    _ = tree.add(node)
  }

  private func buildDuration(_ content: WireField.Content, in holder: Holder) {
    guard let fields = message(content, holder) else { return }
    var seconds: Int64 = 0
    var nanoseconds: Int64 = 0
    for field in fields {
      guard case .varint(let bits) = field.content else { continue }
      if field.number == 1 { seconds = Int64(bitPattern: bits) }
      if field.number == 2 { nanoseconds = Int64(Int32(truncatingIfNeeded: bits)) }
    }
    guard (0..<ConfigLimits.durationSeconds).contains(seconds),
      (0..<1_000_000_000).contains(nanoseconds)
    else {
      return refuse(
        holder,
        "expected a duration from 0s to \(ConfigLimits.durationSeconds)s, found "
          + "\(seconds) seconds and \(nanoseconds) nanoseconds")
    }
    var node = blank(.duration, holder)
    node.bits = UInt64(bitPattern: seconds)
    node.nanoseconds = Int32(truncatingIfNeeded: nanoseconds)
    _ = tree.add(node)
  }

  // MARK: Any

  private func buildAny(_ content: WireField.Content, in holder: Holder) {
    guard let fields = message(content, holder) else { return }
    var url = ""
    var value: ArraySlice<UInt8> = []
    for field in fields {
      guard case .bytes(let bytes) = field.content else { continue }
      if field.number == 1 { url = String(decoding: bytes, as: UTF8.self) }
      if field.number == 2 { value = bytes }
    }
    // The extension point belongs to the message that has the field, also when the value is an
    // entry of a map.
    var owner = holder.parent
    var position = holder.field
    while tree.nodes[owner].kind != .message {
      position = tree.nodes[owner].field
      owner = tree.nodes[owner].parent
    }
    let message = catalog.messages[tree.nodes[owner].type]
    let allowed = ExtensionPoints.types(for: message.fields[position].name, of: message.name)
    let name = url.split(separator: "/").last.map(String.init) ?? ""
    guard let type = catalog.index(ofMessage: name), url.contains("/"),
      catalog.dialect.takesEveryExtension || allowed.contains(name)
    else { return refuse(holder, ExtensionPoints.refusal(of: name, url: url, allowed: allowed)) }
    let id = add(.message, holder, type: type, isInAny: true)
    buildFields(value, into: id, path: holder.path, depth: holder.depth + 1)
  }

  // MARK: Free-form values

  private func buildStructure(_ content: WireField.Content, in holder: Holder) {
    guard let fields = message(content, holder) else { return }
    let map = add(.map, holder)
    for field in fields where field.number == 1 && !diagnostics.isFull {
      guard let entry = message(field.content, holder) else { return }
      var key = ""
      if case .bytes(let bytes)? = entry.last(where: { $0.number == 1 })?.content {
        guard let text = text(bytes, holder.path) else { return }
        key = text
      }
      dropTwin(of: key, in: map)
      buildValue(
        entry.last { $0.number == 2 }?.content ?? .bytes([]),
        in: Holder(
          parent: map, field: -1, key: key, path: holder.path.key(key), depth: holder.depth + 1))
    }
  }

  /// `google.protobuf.Value`: null 1, number 2, string 3, bool 4, struct 5, list 6.
  private func buildValue(_ content: WireField.Content, in holder: Holder) {
    guard let field = message(content, holder)?.last else { return addNull(content, holder) }
    switch (field.number, field.content) {
    case (2, _): buildScalar(field.content, as: .double, in: holder)
    case (3, _): buildScalar(field.content, as: .string, in: holder)
    case (4, _): buildScalar(field.content, as: .bool, in: holder)
    case (5, _): buildStructure(field.content, in: holder)
    case (6, _):
      guard let items = message(field.content, holder) else { return }
      let list = add(.list, holder)
      for (position, item) in items.filter({ $0.number == 1 }).enumerated() {
        buildValue(
          item.content,
          in: Holder(
            parent: list, field: -1, path: holder.path.index(position), depth: holder.depth + 1))
      }
    default: addNull(content, holder)
    }
  }

  private func addNull(_ content: WireField.Content, _ holder: Holder) {
    if case .bytes = content { _ = add(.null, holder) }
  }

  // MARK: Nodes and reports

  private func blank(_ kind: ConfigKind, _ holder: Holder) -> ConfigTree.Node {
    ConfigTree.Node(
      kind: kind, location: Self.nowhere, parent: holder.parent, field: holder.field,
      key: holder.key)
  }

  private func add(
    _ kind: ConfigKind, _ holder: Holder, type: Int = -1, isInAny: Bool = false
  ) -> Int {
    var node = blank(kind, holder)
    node.type = type
    node.isInAny = isInAny
    return tree.add(node)
  }

  /// The fields of a message that the schema does not hold by itself.
  private func message(_ content: WireField.Content, _ holder: Holder) -> [WireField]? {
    guard case .bytes(let bytes) = content else {
      refuseKind(holder)
      return nil
    }
    guard holder.depth <= YAMLLimits.depth else {
      refuse(holder, "nested deeper than the limit of \(YAMLLimits.depth) levels")
      return nil
    }
    do throws(WireError) {
      return try WireReader.fields(bytes)
    } catch {
      refuse(holder, "no message in binary form: \(error.message)")
      return nil
    }
  }

  private func text(_ bytes: ArraySlice<UInt8>, _ path: ConfigPath) -> String? {
    guard let text = String(validating: bytes, as: UTF8.self) else {
      report(path, "the text is not valid UTF-8")
      return nil
    }
    return text
  }

  private func refuse(_ holder: Holder, _ message: String) {
    _ = add(.invalid, holder)
    report(holder.path, message)
  }

  private func refuseKind(_ holder: Holder) {
    refuse(holder, "the field has another type on the wire")
  }

  private func report(_ path: ConfigPath, _ message: String) {
    diagnostics.report(.error, message, path: path, at: Self.nowhere)
  }

  private func reportUnknown(
    _ number: UInt32, of schema: MessageSchema, in id: Int, path: ConfigPath
  ) {
    tree.markUnknownField(in: id)
    let name = PublishedNames.envoy.name(ofField: number, in: schema.name)
    diagnostics.report(
      unknownFields,
      name == nil
        ? "no field has the number \(number) in \(schema.name)"
        : "known to Envoy, not supported by Fairlead",
      path: name.map(path.field) ?? path, at: Self.nowhere)
  }
}
