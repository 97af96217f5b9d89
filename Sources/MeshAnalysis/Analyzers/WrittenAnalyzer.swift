import MeshModel
import MeshTranslation
import Resources

/// Objects that did not take effect, and those of which a part means nothing to some clients.
enum WrittenAnalyzer {
  static func analyze(_ context: AnalysisContext, _ input: AnalysisInput) {
    for (id, diagnostic) in input.findings {
      context.report(
        diagnostic.severity == .error ? .schemaValidationError : .schemaWarning, id, diagnostic)
    }
    var clients: [Omission: Set<String>] = [:]
    for one in input.unsupported { clients[one.omission, default: []].insert(one.client) }
    for (omission, names) in clients.sorted(by: { $0.key < $1.key }) {
      guard let object = context.object(omission.object) else { continue }
      context.report(
        .clientCannot, object, path(omission.field, of: object),
        "\(omission.field) does not reach clients of kind "
          + "\(names.sorted().joined(separator: ", ")): \(omission.effect).")
    }
  }

  /// The outermost field: what is noted may be in any item below it.
  private static func path(_ field: String, of object: MeshObject) -> ConfigPath {
    let first = field.prefix { $0 != "." && $0 != "[" }
    return .root["spec"][String(first)]
  }
}
