/// What would be served after a change, against what is served now.
package enum ServedDifference {
  package static func text(_ answer: JSONValue) -> String {
    var out = ""
    for object in answer["objects"].items {
      out += "\(ObjectClient.title(of: object)) would be \(object["result"].text)\n"
    }
    let differences = answer["differences"].items
    if differences.isEmpty {
      let count = answer["connected"].integerValue ?? 0
      return out
        + (count == 0
          ? "no proxy is connected: nobody would be sent anything\n"
          : "nothing that a proxy is sent would change\n")
    }
    return out + differences.map(group).joined()
  }

  /// Proxies that are served alike.
  private static func group(_ entry: JSONValue) -> String {
    let names = entry["proxies"].texts.map { id in
      let parts = id.split(separator: "~", omittingEmptySubsequences: false)
      return parts.count > 2 ? String(parts[2]) : id
    }
    let shown = names.prefix(10).joined(separator: ", ")
    let more = names.count > 10 ? " and \(names.count - 10) more" : ""
    return "\n\(shown)\(more) (\(entry["client"].text))\n"
      + entry["changes"].items.map(change).joined()
  }

  private static func change(_ entry: JSONValue) -> String {
    let title = "  \(entry["type"].text) '\(entry["name"].text)' \(entry["change"].text)\n"
    guard entry["change"].text == "changed" else { return title }
    let (before, after) = (Canonical.form(entry["before"]), Canonical.form(entry["after"]))
    return title + LineDifference.text(JSONWriter.write(before), JSONWriter.write(after))
  }
}
