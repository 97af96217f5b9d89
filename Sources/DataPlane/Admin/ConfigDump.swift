import Engine
import Resources

/// `/config_dump`: the configuration as it was read, in the shape of Envoy's admin API. Written from
/// the typed tree, in which every `Any` is the message that it contains.
struct ConfigDump {
  let tree: ConfigTree
  /// When the configuration was loaded: the process loads it once.
  let lastUpdated: String

  /// Every part, in Envoy's order.
  var document: AdminJSON {
    let parts: [AdminJSON] = [
      part(
        "BootstrapConfigDump",
        [("bootstrap", Self.json(tree.root)), ("last_updated", .string(lastUpdated))]),
      part(
        "ClustersConfigDump",
        list("static_clusters", resources("clusters"), as: "cluster")),
      part(
        "ListenersConfigDump",
        list("static_listeners", resources("listeners"), as: "listener")),
      part("ScopedRoutesConfigDump", []),
      part("RoutesConfigDump", list("static_route_configs", routeConfigs, as: "route_config")),
      part("SecretsConfigDump", []),
    ]
    return .object([("configs", .array(parts))])
  }

  private typealias Members = [(name: String, value: AdminJSON)]

  private func part(_ kind: String, _ members: Members) -> AdminJSON {
    .object([("@type", .string("type.googleapis.com/envoy.admin.v3." + kind))] + members)
  }

  private func list(_ name: String, _ nodes: [ConfigNode], as member: String) -> Members {
    guard !nodes.isEmpty else { return [] }
    let items = nodes.map { node in
      AdminJSON.object([
        (member, Self.json(node, named: true)), ("last_updated", .string(lastUpdated)),
      ])
    }
    return [(name, .array(items))]
  }

  private func resources(_ name: String) -> [ConfigNode] {
    tree.root.field("static_resources")?.field(name)?.items ?? []
  }

  private var routeConfigs: [ConfigNode] {
    resources("listeners").flatMap { $0.field("filter_chains")?.items ?? [] }
      .flatMap { $0.field("filters")?.items ?? [] }
      .compactMap { $0.field("typed_config")?.field("route_config") }
  }

  /// A part of the configuration in protobuf's JSON, with the published names of fields.
  /// - Parameter named: the message says its type, as if it were in an `Any`.
  static func json(_ node: ConfigNode, named: Bool = false) -> AdminJSON {
    switch node.kind {
    case .null, .invalid: .null
    case .bool: .bool(node.boolValue ?? false)
    case .number: number(node)
    case .string, .enumeration:
      .string(node.stringValue ?? "")
    case .bytes: .string(base64(node.bytesValue ?? []))
    case .duration: .string(duration(node.durationNanoseconds ?? 0))
    case .list: .array(node.items.map { json($0) })
    case .map: .object(node.items.map { ($0.name, json($0)) })
    case .message: .object(type(of: node, named: named) + node.items.map { ($0.name, json($0)) })
    }
  }

  private static func number(_ node: ConfigNode) -> AdminJSON {
    node.integerValue.map { .integer($0) } ?? .double(node.numberValue ?? 0)
  }

  private static func type(of node: ConfigNode, named: Bool) -> Members {
    guard named || node.isInAny, let name = node.typeName else { return [] }
    return [("@type", .string("type.googleapis.com/" + name))]
  }

  /// `1.5s`, as protobuf writes durations.
  private static func duration(_ nanoseconds: Int64) -> String {
    let magnitude = nanoseconds.magnitude
    let sign = nanoseconds < 0 ? "-" : ""
    let fraction = magnitude % 1_000_000_000
    guard fraction != 0 else { return "\(sign)\(magnitude / 1_000_000_000)s" }
    var digits = String(String(1_000_000_000 + fraction).dropFirst())
    while digits.hasSuffix("0") { digits.removeLast() }
    return "\(sign)\(magnitude / 1_000_000_000).\(digits)s"
  }

  private static func base64(_ bytes: [UInt8]) -> String {
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    var out: [UInt8] = []
    var start = 0
    while start < bytes.count {
      let taken = bytes[start..<min(start + 3, bytes.count)]
      var word: UInt32 = 0
      for byte in taken { word = word << 8 | UInt32(byte) }
      word <<= UInt32(8 * (3 - taken.count))
      for index in 0..<4 {
        let sextet = Int(word >> UInt32(18 - 6 * index) & 63)
        out.append(index <= taken.count ? alphabet[sextet] : UInt8(ascii: "="))
      }
      start += 3
    }
    return String(decoding: out, as: UTF8.self)
  }
}

extension ConfigNode {
  /// Fields, items or entries, in the order in which they were written.
  fileprivate var items: [ConfigNode] { (0..<count).compactMap { item($0) } }
}
