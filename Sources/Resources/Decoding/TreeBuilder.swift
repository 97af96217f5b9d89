/// Walks a document with the schema and builds the typed tree, reporting everything that does not
/// fit. A part that was refused stays in the tree as `.invalid`, so that it does not also count as
/// missing.
struct TreeBuilder {
  let document: YAMLDocument
  let file: Int
  let tree: ConfigTree
  let diagnostics: Diagnostics
  let scalars: ScalarReader

  private var catalog: SchemaCatalog { tree.catalog }

  /// Builds the tree of a document whose outermost message has this type.
  /// - Parameters:
  ///   - root: the node to begin at; the document's outermost by default.
  ///   - catalog: what the types are of.
  static func build(
    _ document: YAMLDocument, root: Int? = nil, type: Int, file: Int, isJSON: Bool,
    diagnostics: Diagnostics, catalog: SchemaCatalog = .shared
  ) -> ConfigTree {
    let tree = ConfigTree(
      type: type, location: SourceLocation(file: file, line: 1, column: 1), catalog: catalog)
    let builder = TreeBuilder(
      document: document, file: file, tree: tree, diagnostics: diagnostics,
      scalars: ScalarReader(catalog: tree.catalog, isJSON: isJSON))
    if let root = root ?? document.root, !builder.isNull(root) {
      tree.setLocation(builder.location(root), of: 0)
      builder.buildFields(of: root, into: 0, path: .root)
    }
    return tree
  }

  // MARK: Messages

  /// The fields of the message `id` from a mapping. In an `Any`, its `@type` has been read.
  ///
  /// The path comes along because asking a node for its own costs a walk to the root.
  private func buildFields(of source: Int, into id: Int, path: ConfigPath) {
    let schema = catalog.messages[tree.nodes[id].type]
    guard document.nodes[source].kind == .mapping else {
      report(path, source, "expected the fields of \(schema.name), found \(phrase(source))")
      return
    }
    for (key, value) in entries(of: source) where !diagnostics.isFull {
      guard let name = name(of: key, below: path) else { continue }
      if name == "@type", tree.nodes[id].isInAny { continue }
      guard let position = schema.position(ofField: name) else {
        reportUnknown(name, key: key, in: id, schema, path: path)
        continue
      }
      buildField(position, of: schema, key: key, value: value, into: id, path: path)
    }
  }

  private func buildField(
    _ position: Int, of schema: MessageSchema, key: Int, value: Int, into id: Int,
    path: ConfigPath
  ) {
    let field = schema.fields[position]
    let path = path.field(field.name)
    if let first = tree.child(of: id, field: position) {
      let line = tree.nodes[first].location.line
      reportDuplicate(of: line, key: key, path: path)
      return
    }
    // Null is how JSON writes "not set", save where null is a value.
    if isNull(value), !(field.type == .value && field.cardinality == .single) { return }
    if let oneof = field.oneof { reportConflict(schema, oneof, key: key, in: id, path: path) }
    if field.isDeprecated {
      diagnostics.report(
        .warning, "deprecated by \(catalog.dialect.owner)", path: path, at: location(key))
    }
    let holder = Holder(parent: id, field: position, key: "", path: path)
    switch field.cardinality {
    case .single: build(value, as: field, in: holder)
    case .list: buildList(value, as: field, in: holder)
    case .map: buildMap(value, as: field, in: holder)
    }
  }

  /// Where a value goes. The path is kept for reports that come before the node exists.
  private struct Holder {
    let parent: Int
    let field: Int
    let key: String
    let path: ConfigPath
  }

  private func build(_ source: Int, as field: FieldSchema, in holder: Holder) {
    let node = document.nodes[source]
    switch field.type {
    case .message(let type):
      let id = add(.message, source, holder, type: type)
      buildFields(of: source, into: id, path: holder.path)
    case .any: buildAny(source, as: field, in: holder)
    case .structure:
      guard node.kind == .mapping else {
        refuse(source, holder, "expected a mapping, found \(phrase(source))")
        return
      }
      buildFreeForm(source, in: holder)
    case .value: buildFreeForm(source, in: holder)
    case .scalar, .wrapper, .duration, .enumeration: buildScalar(source, as: field, in: holder)
    }
  }

  private func buildScalar(_ source: Int, as field: FieldSchema, in holder: Holder) {
    guard document.nodes[source].kind == .scalar else {
      refuse(source, holder, "expected \(noun(field.type)), found \(phrase(source))")
      return
    }
    do throws(ValueError) {
      var value = try scalars.read(document.nodes[source], as: field.type)
      value.location = location(source)
      value.parent = holder.parent
      value.field = holder.field
      value.key = holder.key
      _ = tree.add(value)
    } catch {
      refuse(source, holder, error.message)
    }
  }

  private func buildList(_ source: Int, as field: FieldSchema, in holder: Holder) {
    guard document.nodes[source].kind == .sequence else {
      refuse(source, holder, "expected a list, found \(phrase(source))")
      return
    }
    let list = add(.list, source, holder)
    for (position, item) in document.children(of: source).enumerated() where !diagnostics.isFull {
      let place = Holder(
        parent: list, field: -1, key: "", path: holder.path.index(position))
      if isNull(item) {
        refuse(item, place, "expected \(noun(field.type)), found null")
      } else {
        build(item, as: field, in: place)
      }
    }
  }

  private func buildMap(_ source: Int, as field: FieldSchema, in holder: Holder) {
    guard document.nodes[source].kind == .mapping else {
      refuse(source, holder, "expected a mapping, found \(phrase(source))")
      return
    }
    let map = add(.map, source, holder)
    buildEntries(of: source, in: map, path: holder.path) { value, place in
      if isNull(value) {
        refuse(value, place, "expected \(noun(field.type)), found null")
      } else {
        build(value, as: field, in: place)
      }
    }
  }

  /// The entries of a map, each key once.
  private func buildEntries(
    of source: Int, in map: Int, path: ConfigPath, build: (_ value: Int, _ place: Holder) -> Void
  ) {
    var lines: [String: Int] = [:]
    for (key, value) in entries(of: source) where !diagnostics.isFull {
      guard let name = name(of: key, below: path) else { continue }
      if let line = lines[name] {
        reportDuplicate(of: line, key: key, path: path.key(name))
      } else {
        lines[name] = location(key).line
        build(value, Holder(parent: map, field: -1, key: name, path: path.key(name)))
      }
    }
  }

  // MARK: Any

  private func buildAny(_ source: Int, as field: FieldSchema, in holder: Holder) {
    guard document.nodes[source].kind == .mapping else {
      refuse(source, holder, "expected a mapping with an '@type', found \(phrase(source))")
      return
    }
    // The extension point belongs to the message that has the field, also when the value is an
    // entry of a map.
    var owner = holder.parent
    while tree.nodes[owner].kind != .message { owner = tree.nodes[owner].parent }
    let message = catalog.messages[tree.nodes[owner].type]
    // Whoever only wants to say that a filter is on has nothing more to say about it.
    if message.name == "envoy.config.route.v3.FilterConfig", document.children(of: source).isEmpty {
      return
    }
    if catalog.dialect.takesEveryExtension { return buildExtension(source, in: holder) }
    let allowed = ExtensionPoints.types(for: field.name, of: message.name)
    let entry = entries(of: source).first { document.nodes[$0.key].text == "@type" }
    guard let entry, document.nodes[entry.value].kind == .scalar else {
      refuse(source, holder, "missing '@type'; expected \(ExtensionPoints.choice(allowed))")
      return
    }
    let url = document.nodes[entry.value].text
    let name = url.split(separator: "/").last.map(String.init) ?? ""
    guard let type = catalog.index(ofMessage: name), allowed.contains(name), url.contains("/")
    else {
      let place = Holder(
        parent: holder.parent, field: holder.field, key: holder.key, path: holder.path)
      refuse(entry.value, place, ExtensionPoints.refusal(of: name, url: url, allowed: allowed))
      return
    }
    let id = add(.message, source, holder, type: type, isInAny: true)
    buildFields(of: source, into: id, path: holder.path)
  }

  /// Any message of the catalog. One that Envoy has and the catalog has not goes as what it says, for Envoy
  /// to read: an `xds.type.v3.TypedStruct`.
  private func buildExtension(_ source: Int, in holder: Holder) {
    let entry = entries(of: source).first { document.nodes[$0.key].text == "@type" }
    guard let entry, document.nodes[entry.value].kind == .scalar else {
      return refuse(
        source, holder, "missing '@type', such as type.googleapis.com/envoy.extensions.…")
    }
    let url = document.nodes[entry.value].text
    let name = url.split(separator: "/").last.map(String.init) ?? ""
    if url.contains("/"), let type = catalog.index(ofMessage: name) {
      let id = add(.message, source, holder, type: type, isInAny: true)
      return buildFields(of: source, into: id, path: holder.path)
    }
    guard url.contains("/"), catalog.dialect.names.hasExtension(name),
      let type = catalog.index(ofMessage: "xds.type.v3.TypedStruct")
    else {
      let message = TypeRefusal.phrase(url, name, in: catalog)
      return refuse(entry.value, holder, message)
    }
    let id = add(.message, source, holder, type: type, isInAny: true)
    var text = ConfigTree.Node(kind: .string, location: location(entry.value), parent: id, field: 0)
    text.text = url
    _ = tree.add(text)
    let content = add(.map, source, Holder(parent: id, field: 1, key: "", path: holder.path))
    buildEntries(of: source, in: content, path: holder.path) { value, place in
      if place.key != "@type" { buildFreeForm(value, in: place) }
    }
  }

  // MARK: Free-form values

  private func buildFreeForm(_ source: Int, in holder: Holder) {
    let node = document.nodes[source]
    switch node.kind {
    case .scalar:
      var value = scalars.freeForm(node)
      value.location = location(source)
      value.parent = holder.parent
      value.field = holder.field
      value.key = holder.key
      _ = tree.add(value)
    case .sequence:
      let list = add(.list, source, holder)
      for (position, item) in document.children(of: source).enumerated() {
        buildFreeForm(
          item,
          in: Holder(parent: list, field: -1, key: "", path: holder.path.index(position)))
      }
    case .mapping:
      let map = add(.map, source, holder)
      buildEntries(of: source, in: map, path: holder.path) { value, place in
        buildFreeForm(value, in: place)
      }
    }
  }

  // MARK: Nodes

  private func add(
    _ kind: ConfigKind, _ source: Int, _ holder: Holder, type: Int = -1, isInAny: Bool = false
  ) -> Int {
    tree.add(
      ConfigTree.Node(
        kind: kind, location: location(source), parent: holder.parent, field: holder.field,
        key: holder.key, type: type, isInAny: isInAny))
  }

  private func refuse(_ source: Int, _ holder: Holder, _ message: String) {
    _ = add(.invalid, source, holder)
    diagnostics.report(.error, message, path: holder.path, at: location(source))
  }

  private func entries(of mapping: Int) -> some Sequence<(key: Int, value: Int)> {
    let children = document.children(of: mapping)
    return stride(from: children.startIndex, to: children.endIndex - 1, by: 2).lazy.map {
      (key: children[$0], value: children[$0 + 1])
    }
  }

  private func name(of key: Int, below path: ConfigPath) -> String? {
    guard document.nodes[key].kind == .scalar else {
      report(path, key, "expected a name before ':', found \(phrase(key))")
      return nil
    }
    return document.nodes[key].text
  }

  private func isNull(_ source: Int) -> Bool {
    let node = document.nodes[source]
    return node.kind == .scalar && YAMLScalar(node) == .null
  }

  private func location(_ source: Int) -> SourceLocation {
    let mark = document.nodes[source].mark
    return SourceLocation(file: file, line: mark.line, column: mark.column)
  }

  private func phrase(_ source: Int) -> String { ScalarReader.phrase(document.nodes[source]) }

  private func noun(_ type: ValueType) -> String {
    switch type {
    case .scalar(.bool), .wrapper(.bool): "true or false"
    case .scalar(.string), .wrapper(.string): "a string"
    case .scalar(.bytes), .wrapper(.bytes): "base64"
    case .scalar, .wrapper: "a number"
    case .duration: "a duration"
    case .enumeration(let index): "a value of \(catalog.enums[index].name)"
    case .structure, .any: "a mapping"
    case .value: "a value"
    case .message(let index): "the fields of \(catalog.messages[index].name)"
    }
  }

  // MARK: Reports

  private func report(_ path: ConfigPath, _ source: Int, _ message: String) {
    diagnostics.report(.error, message, path: path, at: location(source))
  }

  private func reportUnknown(
    _ name: String, key: Int, in id: Int, _ schema: MessageSchema, path: ConfigPath
  ) {
    if let open = catalog.dialect.openPackage, schema.name.hasPrefix(open) { return }
    tree.markUnknownField(in: id)
    let shown = ScalarReader.shorten(name)
    let place = path.field(shown)
    let message =
      catalog.dialect.names.has(name, in: schema.name)
      ? "known to \(catalog.dialect.owner), not supported by Fairlead"
      : "no such field in \(schema.name)"
        + Suggestion.phrase(for: name, among: schema.fields.lazy.map(\.name))
    diagnostics.report(.error, message, path: place, at: location(key))
  }

  private func reportDuplicate(of line: Int, key: Int, path: ConfigPath) {
    diagnostics.report(
      .error, "written twice; the first is on line \(line)", path: path, at: location(key))
  }

  private func reportConflict(
    _ schema: MessageSchema, _ oneof: Int, key: Int, in id: Int, path: ConfigPath
  ) {
    let other = tree.nodes[id].children.first {
      schema.fields[tree.nodes[$0].field].oneof == oneof
    }
    guard let other else { return }
    let name = schema.fields[tree.nodes[other].field].name
    diagnostics.report(
      .error,
      "cannot be set together with '\(name)' on line \(tree.nodes[other].location.line)",
      path: path, at: location(key))
  }
}
