/// `$(NAME)` in the arguments and variables of a container, as Kubernetes has it.
enum VariableReference {
  /// Puts values in the place of names; `$$` stands for `$`, and what is not known stays as it is.
  static func expand(_ text: String, _ values: [String: String]) -> String {
    var out = ""
    var rest = text[...]
    while let dollar = rest.firstIndex(of: "$") {
      out += rest[..<dollar]
      rest = rest[rest.index(after: dollar)...]
      if rest.hasPrefix("$") {
        out += "$"
        rest = rest.dropFirst()
      } else if rest.hasPrefix("("), let end = rest.firstIndex(of: ")") {
        let name = String(rest[rest.index(after: rest.startIndex)..<end])
        out += values[name] ?? "$(\(name))"
        rest = rest[rest.index(after: end)...]
      } else {
        out += "$"
      }
    }
    return out + rest
  }
}
