import AdminHTTP
import MeshModel
import Resources

/// How an object is kept: what its author wrote, without what is told anew each time it is shown.
enum ObjectForm {
  /// What the store says of objects, and authors send back when they have edited what they were shown.
  private static let told = ["resourceVersion", "generation", "uid", "managedFields", "selfLink"]

  /// - Parameter created: when the object came, which stays what it was; rules that conflict are settled
  ///   by their age.
  static func kept(_ value: ObjectValue, as id: ObjectID, created: String) -> ObjectValue {
    var value = value
    var metadata = value["metadata"] ?? .map([])
    for name in told { metadata[name] = nil }
    metadata["namespace"] = id.namespace.isEmpty ? nil : .string(id.namespace)
    metadata["creationTimestamp"] = .string(created)
    value["metadata"] = metadata
    // Istio's kinds are told their status; a Pod's says where it runs, and nobody else does.
    if id.kind.isIstio { value["status"] = nil }
    return value
  }

  /// When an object came, as it says so itself.
  static func created(_ value: ObjectValue?) -> String? {
    guard let text = value?["metadata"]?["creationTimestamp"]?.text, !text.isEmpty else {
      return nil
    }
    return text
  }

  /// The document of an object in a file.
  static func find(_ id: ObjectID, in bytes: [UInt8], named name: String) -> ObjectDocument? {
    do throws(ObjectFile.Unreadable) {
      return try ObjectFile.read(bytes, name: name).first { ObjectReader.identify($0) == id }
    } catch {
      return nil
    }
  }

  /// An object as it is shown.
  static func json(_ value: ObjectValue) -> AdminJSON {
    switch value {
    case .null: return .null
    case .list(let items): return .array(items.map(json))
    case .map(let members): return .object(members.map { ($0.name, json($0.value)) })
    case .plain, .string:
      return switch value.meaning {
      case .bool(let value): .bool(value)
      case .integer(let value): .integer(value)
      case .number(let value): .double(value)
      case .text(let text): .string(text)
      case nil: .null
      }
    }
  }

  /// The same with every value of a Secret's taken out: who may look is not known here.
  static func redacted(_ value: ObjectValue, kind: MeshKind) -> ObjectValue {
    guard kind == .secret else { return value }
    var value = value
    for field in ["data", "stringData"] { value[field] = value[field].map(withoutValues) }
    // What applied it may have noted the whole of it there.
    if var metadata = value["metadata"], let annotations = metadata["annotations"] {
      metadata["annotations"] = withoutValues(annotations)
      value["metadata"] = metadata
    }
    return value
  }

  private static func withoutValues(_ value: ObjectValue) -> ObjectValue {
    guard case .map(let members) = value else { return .string("[redacted]") }
    return .map(members.map { .init($0.name, .string("[redacted]")) })
  }
}
