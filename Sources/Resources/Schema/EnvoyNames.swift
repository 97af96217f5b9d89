import ResourceModel

/// What Envoy's v3 API has and this model does not. Only the wording of a refusal needs it, so the
/// table is not touched before the first mistake.
///
/// The table is lines: `message.or.enum name=number name=number`, then `types`, then one extension
/// type a line.
enum EnvoyNames {
  /// Whether Envoy has a field (or enum value) of this name in that message (or enum).
  static func has(_ name: String, in type: String) -> Bool {
    guard let line = lines.first(where: { $0.hasPrefix(type + " ") }) else { return false }
    let wanted = snakeCase(name)
    return line.split(separator: " ").dropFirst().contains { word in
      word.prefix { $0 != "=" } == wanted || word.prefix { $0 != "=" } == name
    }
  }

  /// Envoy's name for a field number that this model lacks.
  static func name(ofField number: UInt32, in type: String) -> String? {
    guard let line = lines.first(where: { $0.hasPrefix(type + " ") }) else { return nil }
    let word = line.split(separator: " ").dropFirst().first { $0.hasSuffix("=\(number)") }
    return word.map { String($0.prefix { $0 != "=" }) }
  }

  /// Whether Envoy has an extension with this configuration type.
  static func hasExtension(_ type: String) -> Bool {
    lines.drop { $0 != "types" }.contains { $0 == type }
  }

  private static let lines = envoyNames.description.utf8.split(separator: UInt8(ascii: "\n"))
    .map(Substring.init)

  /// `connectTimeout` to `connect_timeout`.
  private static func snakeCase(_ name: String) -> String {
    var bytes: [UInt8] = []
    for byte in name.utf8 {
      if byte >= UInt8(ascii: "A"), byte <= UInt8(ascii: "Z") {
        bytes += [UInt8(ascii: "_"), byte + 32]
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
