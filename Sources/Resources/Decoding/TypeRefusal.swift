/// Why a type that is none of a catalog's is refused where any could stand.
enum TypeRefusal {
  /// What is wrong with an `@type`, and what would be right.
  static func phrase(_ url: String, _ name: String, in catalog: SchemaCatalog) -> String {
    if !url.contains("/"), catalog.index(ofMessage: name) != nil {
      return "expected '@type: type.googleapis.com/\(name)', found '\(ScalarReader.shorten(url))'"
    }
    if name.contains(".v2.") {
      return "no such type '\(ScalarReader.shorten(name))': Envoy's API is v3"
    }
    // The package tells more than the name, which is often the same in several.
    let known = catalog.messages.lazy.map(\.name).filter { $0.hasPrefix("envoy.") }
    let near = Suggestion.phrase(for: name, among: known)
    return "no such type '\(ScalarReader.shorten(name))'"
      + (near.isEmpty
        ? "; one that Envoy does not have itself goes as xds.type.v3.TypedStruct" : near)
  }
}
