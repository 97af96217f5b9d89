import FilterSDK

extension HeaderMutationFilter {
  /// `envoy.extensions.filters.http.header_mutation.v3.HeaderMutation`; `HeaderMutationPerRoute` is
  /// the same without the order.
  public struct Config: BitwiseCopyable {
    var request: HeaderMutations?
    var response: HeaderMutations?
    /// The most specific level's edits come last, and so win.
    var mostSpecificWins: Bool
  }

  public static func load(_ node: ConfigNode, _ loader: borrowing ConfigLoader) -> Config? {
    let mutations = node.message("mutations")
    return Config(
      request: mutations.flatMap { loader.headerMutations($0, "request_mutations") },
      response: mutations.flatMap { loader.headerMutations($0, "response_mutations") },
      mostSpecificWins: node.bool("most_specific_header_mutations_wins") ?? false)
  }
}
