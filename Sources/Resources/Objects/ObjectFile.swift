/// Reads a file of objects as Kubernetes writes them: YAML with any number of documents, or JSON, each
/// with `apiVersion` and `kind`; a `List` stands for its items.
package enum ObjectFile {
  /// The file as a whole cannot be read.
  package struct Unreadable: Error {
    package let diagnostic: Diagnostic
  }

  /// All objects of a file, in order.
  /// - Parameter name: what reports call the file.
  package static func read(
    _ bytes: [UInt8], name: String
  ) throws(Unreadable) -> [ObjectDocument] {
    let documents: [YAMLDocument]
    do throws(YAMLSyntaxError) {
      documents = try YAMLDocument.all(bytes)
    } catch {
      throw Unreadable(
        diagnostic: Diagnostic(
          severity: .error, file: name, line: error.mark.line, column: error.mark.column, path: "",
          message: error.message))
    }
    var found: [ObjectDocument] = []
    for document in documents {
      // Nothing, or a comment alone, stands between two separators.
      guard let root = document.root, !isNull(document.nodes[root]) else { continue }
      collect(root, of: document, name: name, into: &found)
    }
    return found
  }

  private static func isNull(_ node: YAMLDocument.Node) -> Bool {
    node.kind == .scalar && YAMLScalar(node) == .null
  }

  private static func collect(
    _ node: Int, of document: YAMLDocument, name: String, into found: inout [ObjectDocument]
  ) {
    let object = ObjectDocument(document: document, node: node, file: name)
    if object.kind == "List", let items = object.child("items"),
      document.nodes[items].kind == .sequence
    {
      for item in document.children(of: items) {
        collect(item, of: document, name: name, into: &found)
      }
      return
    }
    found.append(object)
  }
}

/// One object of a file, not yet read as what it is.
package struct ObjectDocument {
  let document: YAMLDocument
  let node: Int
  package let file: String

  /// `networking.istio.io/v1`; nil if it does not say so in words.
  package var apiVersion: String? { text("apiVersion") }

  /// `VirtualService`; nil if it does not say so in words.
  package var kind: String? { text("kind") }

  /// Where it begins, counted from one.
  package var line: Int { document.nodes[node].mark.line }

  /// A mistake in the object as a whole, or at one of its outermost fields.
  package func mistake(at field: String? = nil, _ message: String) -> Diagnostic {
    let place = document.nodes[field.flatMap(child) ?? node].mark
    return Diagnostic(
      severity: .error, file: file, line: place.line, column: place.column, path: field ?? "",
      message: message)
  }

  /// The object as a message, with whatever is wrong with it.
  /// - Parameter message: the full name of a message of the schema.
  package func read(as message: String, in schema: ObjectSchema) -> ReadObject? {
    guard let type = schema.catalog.index(ofMessage: message) else { return nil }
    let diagnostics = Diagnostics(files: [file])
    let tree = TreeBuilder.build(
      document, root: node, type: type, file: 0, isJSON: file.hasSuffix(".json"),
      diagnostics: diagnostics, catalog: schema.catalog)
    diagnostics.tree = tree
    RuleChecker.check(tree, diagnostics: diagnostics)
    return ReadObject(tree: tree, diagnostics: diagnostics)
  }

  /// A mistake in one of the fields of its metadata.
  package func mistake(inMetadata field: String, _ message: String) -> Diagnostic {
    let metadata = child("metadata")
    let place = metadata.flatMap { child(field, of: $0) } ?? metadata ?? node
    let mark = document.nodes[place].mark
    return Diagnostic(
      severity: .error, file: file, line: mark.line, column: mark.column,
      path: "metadata.\(field)", message: message)
  }

  /// The line of what a path leads to, or of the nearest above it that is written. The path's names are
  /// those of the file.
  package func line(of path: ConfigPath) -> Int {
    var at = node
    for step in path.steps {
      let next: Int? =
        switch step {
        case .root: at
        case .field(_, let name), .key(_, let name): child(name, of: at)
        case .index(_, let position): item(position, of: at)
        }
      guard let next else { break }
      at = next
    }
    return document.nodes[at].mark.line
  }

  private func item(_ position: Int, of node: Int) -> Int? {
    guard document.nodes[node].kind == .sequence else { return nil }
    let items = document.children(of: node)
    let index = items.startIndex + position
    return items.indices.contains(index) ? items[index] : nil
  }

  private func text(_ field: String) -> String? {
    guard let value = child(field), document.nodes[value].kind == .scalar else { return nil }
    return document.nodes[value].text
  }

  func child(_ field: String) -> Int? { child(field, of: node) }

  private func child(_ field: String, of node: Int) -> Int? {
    guard document.nodes[node].kind == .mapping else { return nil }
    let children = document.children(of: node)
    return stride(from: children.startIndex, to: children.endIndex - 1, by: 2)
      .first { document.nodes[children[$0]].text == field }.map { children[$0 + 1] }
  }
}

/// An object of a file, read: its content, its places, and what is wrong with it.
package struct ReadObject {
  package let tree: ConfigTree
  package let diagnostics: Diagnostics

  /// In protobuf's binary form, without what was refused.
  package var bytes: [UInt8] { tree.root.serialized }
}
