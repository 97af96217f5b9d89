import Resources

/// Shows parts of a configuration.
package enum ConfigJSON {
  /// A part of the configuration in protobuf's JSON, with the published names of fields.
  /// - Parameter named: the message says its type, as if it were in an `Any`.
  package static func json(_ node: ConfigNode, named: Bool = false) -> AdminJSON {
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
    case .message:
      .object(
        type(of: node, named: named)
          + node.items.map { item in
            let isSecret = secretFields[node.typeName ?? ""]?.contains(item.name) ?? false
            return (item.name, isSecret ? redacted(item) : json(item))
          })
    }
  }

  /// Fields that nobody is shown, by their messages; Envoy marks the same as sensitive.
  private static let secretFields: [String: Set<String>] = {
    let tls = "envoy.extensions.transport_sockets.tls.v3."
    return [
      tls + "TlsCertificate": ["private_key", "password"], tls + "TlsSessionTicketKeys": ["keys"],
    ]
  }()

  /// The same shape, with every value taken out.
  private static func redacted(_ node: ConfigNode) -> AdminJSON {
    let word = "[redacted]"
    return switch node.kind {
    case .message, .map: .object(node.items.map { ($0.name, redacted($0)) })
    case .list: .array(node.items.map { redacted($0) })
    case .bytes: .string(base64(Array(word.utf8)))
    case .null, .invalid, .bool, .number, .string, .enumeration, .duration: .string(word)
    }
  }

  private static func number(_ node: ConfigNode) -> AdminJSON {
    node.integerValue.map { .integer($0) } ?? .double(node.numberValue ?? 0)
  }

  private static func type(of node: ConfigNode, named: Bool) -> [(name: String, value: AdminJSON)] {
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
  package var items: [ConfigNode] { (0..<count).compactMap { item($0) } }
}
