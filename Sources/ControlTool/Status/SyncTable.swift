/// `proxy-status`: a line for each proxy, and the reason behind what is not in order.
package enum SyncTable {
  /// - Parameter istiod: the control plane that was asked.
  /// - Parameter isVerbose: the state of each kind of resources, and for how long.
  package static func text(
    _ all: [SyncStatus], istiod: String, now: Int, isVerbose: Bool
  ) -> String {
    var table =
      isVerbose
      ? TextTable("NAME", "CLUSTER", "CDS", "ECDS", "EDS", "LDS", "RDS", "ISTIOD", "VERSION")
      : TextTable("NAME", "CLUSTER", "ISTIOD", "VERSION", "SUBSCRIBED TYPES")
    for each in all {
      let cluster = each.clusterID.isEmpty ? "-" : each.clusterID
      if isVerbose {
        let states = ["CDS", "ECDS", "EDS", "LDS", "RDS"].map { each.state(of: $0, at: now) }
        table.append([each.name, cluster] + states + [istiod, each.program])
      } else {
        table.append(each.name, cluster, istiod, each.program, each.subscribed)
      }
    }
    let notes = notes(all, now: now)
    return table.text + (notes.isEmpty ? "" : "\n" + notes)
  }

  /// A line for each kind that is not in order, and for each thing that a proxy does not get.
  private static func notes(_ all: [SyncStatus], now: Int) -> String {
    all.flatMap { each -> [String] in
      let troubles = each.kinds.compactMap { kind in
        kind.trouble.map {
          "\(each.name)  \(kind.name) \(each.state(of: kind.name, at: now)): \(indented($0))\n"
        }
      }
      let kind = each.client.isEmpty ? "this client" : each.client
      return troubles
        + each.unsupported.map { "\(each.name)  not sent to \(kind): \(indented($0))\n" }
    }.joined()
  }

  /// A reason may have many lines: they belong to their proxy.
  private static func indented(_ text: String) -> String {
    text.split(whereSeparator: \.isNewline).joined(separator: "\n    ")
  }
}
