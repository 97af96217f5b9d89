import SwiftProtobuf

/// Reads free-form values as messages of a schema, and lays one message over another. Messages go by their
/// names and in protobuf's binary form, so that what nobody here has a type for is kept.
package struct MessageReader: Sendable {
  let catalog: SchemaCatalog

  package init(_ schema: ObjectSchema) { catalog = schema.catalog }

  /// A value, read.
  package struct Reading {
    /// In protobuf's binary form, without what was refused.
    package let bytes: [UInt8]
    /// What is wrong with it, each with the steps that lead there.
    package let problems: [Problem]
  }

  /// What is wrong at a place of a value.
  package struct Problem {
    package let isError: Bool
    package let path: ConfigPath
    package let message: String
  }

  /// Reads a value as a message.
  /// - Parameter message: its full name; nil is returned when the schema has none of that name.
  package func read(_ value: Google_Protobuf_Struct, as message: String) -> Reading? {
    guard let type = catalog.index(ofMessage: message) else { return nil }
    let diagnostics = Diagnostics(files: [""])
    let text = ObjectValue(value).yaml
    let document: YAMLDocument
    do throws(YAMLSyntaxError) {
      document = try YAMLDocument(Array(text.utf8))
    } catch {
      return Reading(
        bytes: [], problems: [.init(isError: true, path: .root, message: error.message)])
    }
    // Whatever the file was, what is a number in a value is one.
    let tree = TreeBuilder.build(
      document, type: type, file: 0, isJSON: true, diagnostics: diagnostics, catalog: catalog)
    return Reading(
      bytes: tree.root.serialized,
      problems: diagnostics.steps.map { path, found in
        Problem(isError: found.severity == .error, path: path, message: found.message)
      })
  }
}

extension MessageReader {
  /// A message as it was sent, for whoever shows it; nil when the schema has none of that name. What the
  /// schema lacks is left out.
  package func tree(of bytes: [UInt8], as message: String) -> ConfigTree? {
    guard let type = catalog.index(ofMessage: message) else { return nil }
    return WireTreeBuilder.build(
      bytes[...], type: type, unknownFields: .warning, diagnostics: Diagnostics(files: [""]),
      catalog: catalog)
  }
}

extension ObjectValue {
  /// A free-form map, in the order of its keys: the same content always reads the same.
  init(_ value: Google_Protobuf_Struct) {
    self = .map(
      value.fields.sorted { $0.key < $1.key }.map { Member($0.key, ObjectValue($0.value)) })
  }

  private init(_ value: Google_Protobuf_Value) {
    switch value.kind {
    case .boolValue(let bool): self = .plain(bool ? "true" : "false")
    case .numberValue(let number):
      self = .plain(Int64(exactly: number).map(String.init) ?? String(number))
    case .stringValue(let text): self = .string(text)
    case .structValue(let map): self = .init(map)
    case .listValue(let list): self = .list(list.values.map { ObjectValue($0) })
    case .nullValue, nil: self = .null
    }
  }
}
