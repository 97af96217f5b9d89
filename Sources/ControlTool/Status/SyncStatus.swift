/// How far one proxy has followed the control plane, as `/debug/syncz` tells it.
package struct SyncStatus: Equatable {
  /// One kind of resources.
  package struct Kind: Equatable {
    /// `CDS`, `LDS`, …
    package var name: String
    /// `SYNCED`, `STALE`, `NOT SENT`, `ERROR` or `IGNORED`.
    package var state: String
    /// What the proxy said when it last refused something.
    package var reason: String
    package var sent: String
    package var acknowledged: String
    /// Since when it is in this state; nil when that is not told.
    package var since: Int?
  }

  package var node: String
  package var clusterID: String
  /// `fairlead`, `envoy` or `grpc`.
  package var client: String
  package var version: String
  package var kinds: [Kind]
  /// What this proxy does not get, since a client of its kind could not use it.
  package var unsupported: [String]

  /// Every proxy of the document, by name.
  package static func all(in document: JSONValue) -> [SyncStatus] {
    document.items.map(SyncStatus.init).sorted { ($0.name, $0.node) < ($1.name, $1.node) }
  }

  private init(_ entry: JSONValue) {
    node = entry["proxy"].text
    clusterID = entry["cluster_id"].text
    client = entry["client"].text
    version = entry["version"].text
    unsupported = entry["unsupported"].texts
    kinds = entry["types"].items.map { type in
      Kind(
        name: type["type"].text, state: type["state"].text, reason: type["reason"].text,
        sent: type["sent_version"].text, acknowledged: type["acked_version"].text,
        since: Timestamp.second(of: type["since"].text))
    }
  }

  /// `<pod>.<namespace>` where the node's id has one, or the id.
  package var name: String {
    let parts = node.split(separator: "~", omittingEmptySubsequences: false)
    return parts.count > 2 ? String(parts[2]) : node
  }

  /// What runs there: `envoy 1.40.0`. Some clients say who they are in their version.
  package var program: String {
    version.contains(client) ? version : version.isEmpty ? client : "\(client) \(version)"
  }

  /// The order in which kinds are shown.
  private static let order = ["CDS", "LDS", "EDS", "RDS", "SDS", "ECDS"]

  /// Kinds that it asked for: `4 (CDS,LDS,EDS,RDS)`.
  package var subscribed: String {
    let names = kinds.filter { $0.state != "IGNORED" }.map(\.name)
    let known = Self.order.filter(names.contains) + names.filter { !Self.order.contains($0) }
    return known.isEmpty ? "0" : "\(known.count) (\(known.joined(separator: ",")))"
  }

  /// `SYNCED (10m)`.
  package func state(of name: String, at now: Int) -> String {
    guard let kind = kinds.first(where: { $0.name == name }) else { return "IGNORED" }
    guard let since = kind.since, kind.state != "IGNORED" else { return kind.state }
    return "\(kind.state) (\(Timestamp.age(of: since, at: now)))"
  }
}

extension SyncStatus.Kind {
  /// Why it is not in order; nil when it is.
  package var trouble: String? {
    switch state {
    case "ERROR":
      return reason.isEmpty
        ? "the proxy refused version \(sent) and gave no reason" : Refusal.short(reason)
    case "STALE":
      let last = acknowledged.isEmpty ? "nothing" : "version \(acknowledged)"
      let why = reason.isEmpty ? "" : "; it said before: \(Refusal.short(reason))"
      return "version \(sent) is sent and not acknowledged; the proxy has \(last)\(why)"
    case "NOT SENT": return reason.isEmpty ? nil : reason
    default: return nil
    }
  }
}

/// What a proxy says when it refuses something.
package enum Refusal {
  /// Envoy puts the whole resource before what is wrong with it: of that, the name is enough.
  package static func short(_ text: String) -> String {
    var lines: [Substring] = []
    /// Within a resource's text: whether its name has come.
    var isNamed: Bool?
    for line in text.split(whereSeparator: \.isNewline) {
      if let start = line.firstRange(of: "goo.gle/debug") {
        let before = line[..<start.lowerBound]
        if !before.allSatisfy(\.isWhitespace) { lines.append(before) }
        isNamed = false
      } else if let wasNamed = isNamed {
        if line.hasPrefix(": ") {
          lines.append(line)
          isNamed = nil
        } else if !wasNamed, line.hasPrefix("name: ") {
          lines.append(line.dropFirst("name: ".count))
          isNamed = true
        }
      } else {
        lines.append(line)
      }
    }
    // A resource whose end was not found is better shown whole.
    guard isNamed == nil else { return text }
    return lines.reduce(into: "") { out, line in
      out += out.isEmpty || line.hasPrefix(": ") ? String(line) : "\n" + line
    }
  }
}

extension SyncStatus {
  /// It has answered to everything that it was sent.
  var hasAnswered: Bool {
    !kinds.isEmpty && kinds.allSatisfy { $0.state != "STALE" }
  }
}
