import MeshModel

/// Objects as kubectl lists them: a table for each kind.
enum ObjectTable {
  /// `virtualservice.networking.istio.io/reviews`.
  static func title(of object: JSONValue) -> String {
    let kind = MeshKind(rawValue: object["kind"].text)
    return "\(kind?.qualified ?? object["kind"].text)/\(object["metadata"]["name"].text)"
  }

  static func text(_ objects: [JSONValue], showsNamespace: Bool, now: Int) -> String {
    var kinds: [String] = []
    for object in objects where !kinds.contains(object["kind"].text) {
      kinds.append(object["kind"].text)
    }
    return kinds.map { kind in
      let mine = objects.filter { $0["kind"].text == kind }
      var rows: [[String]] = []
      for object in mine {
        let name = object["metadata"]["name"].text
        rows.append(
          (showsNamespace ? [object["metadata"]["namespace"].text] : [])
            + [kinds.count > 1 ? title(of: object) : name]
            + cells(kind, object).map { $0.isEmpty ? "" : $0 } + [age(object, now)])
      }
      var table = TextTable(
        columns: (showsNamespace ? ["NAMESPACE"] : []) + ["NAME"] + columns(kind) + ["AGE"])
      for row in rows { table.append(row) }
      return table.text
    }.joined(separator: "\n")
  }

  private static func columns(_ kind: String) -> [String] {
    switch kind {
    case "VirtualService": ["GATEWAYS", "HOSTS", "ACCEPTED"]
    case "DestinationRule": ["HOST", "ACCEPTED"]
    case "ServiceEntry": ["HOSTS", "LOCATION", "RESOLUTION", "ACCEPTED"]
    case "WorkloadEntry": ["ADDRESS", "ACCEPTED"]
    case "Service": ["TYPE", "CLUSTER-IP", "PORT(S)"]
    case "Pod": ["STATUS", "IP"]
    default: MeshKind(rawValue: kind)?.isIstio ?? false ? ["ACCEPTED"] : []
    }
  }

  private static func cells(_ kind: String, _ object: JSONValue) -> [String] {
    let spec = object["spec"]
    func list(_ field: String) -> String {
      let texts = spec[field].texts
      return texts.isEmpty ? "" : "[" + texts.map { "\"\($0)\"" }.joined(separator: ",") + "]"
    }
    let accepted = object["status"]["conditions"].items.first { $0["type"].text == "Accepted" }
    let state = accepted?["status"].text ?? ""
    switch kind {
    case "VirtualService": return [list("gateways"), list("hosts"), state]
    case "DestinationRule": return [spec["host"].text, state]
    case "ServiceEntry":
      return [list("hosts"), spec["location"].text, spec["resolution"].text, state]
    case "WorkloadEntry": return [spec["address"].text, state]
    case "Service":
      let ports = spec["ports"].items.map {
        let word = $0["protocol"].text
        return "\($0["port"].integerValue ?? 0)/\(word.isEmpty ? "TCP" : word)"
      }
      let kind = spec["type"].text
      return [
        kind.isEmpty ? "ClusterIP" : kind,
        spec["clusterIP"].text.isEmpty ? "<none>" : spec["clusterIP"].text,
        ports.joined(separator: ","),
      ]
    case "Pod": return [object["status"]["phase"].text, object["status"]["podIP"].text]
    default: return MeshKind(rawValue: kind)?.isIstio ?? false ? [state] : []
    }
  }

  private static func age(_ object: JSONValue, _ now: Int) -> String {
    guard let second = Timestamp.second(of: object["metadata"]["creationTimestamp"].text) else {
      return "<unknown>"
    }
    return Timestamp.age(of: second, at: now)
  }
}
