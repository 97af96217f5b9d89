import MeshModel
import Resources

/// Kinds by what people call them.
enum KindName {
  /// `VirtualService` for `vs`.
  static func kind(_ text: String) throws(ToolError) -> String {
    guard let kind = MeshKind(named: text) else {
      throw ToolError(
        "no kind '\(text)' is known" + Suggestion.phrase(for: text, among: MeshKind.names))
    }
    return kind.rawValue
  }
}
