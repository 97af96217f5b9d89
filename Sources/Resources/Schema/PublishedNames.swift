import ResourceModel

/// What a published API has and our model of it does not. Only the wording of a refusal needs it, so a
/// table is not touched before the first mistake.
///
/// A table is lines: `message.or.enum name=number name=number`, then `types`, then one extension
/// type a line.
final class PublishedNames: Sendable {
  /// Envoy's v3 API.
  static let envoy = PublishedNames(envoyNames.description)

  /// The lines by their first words: a hostile file may make one mistake after the other.
  private let linesByType: [Substring: Substring]
  private let extensionTypes: Set<Substring>

  init(_ table: String) {
    let lines = table.utf8.split(separator: UInt8(ascii: "\n")).map(Substring.init)
    linesByType = Dictionary(
      lines.lazy.map { line in (Substring(line.utf8.prefix { $0 != UInt8(ascii: " ") }), line) },
      uniquingKeysWith: { first, _ in first })
    extensionTypes = Set(lines.drop { $0 != "types" }.dropFirst())
  }

  /// Whether the API has a field (or enum value) of this name in that message (or enum).
  func has(_ name: String, in type: String) -> Bool {
    let other = Self.snakeCase(name)
    return words(of: type).contains { word in
      let known = word.prefix { $0 != UInt8(ascii: "=") }
      return known.elementsEqual(name.utf8) || known.elementsEqual(other.utf8)
    }
  }

  /// The API's name for a field number that our model lacks.
  func name(ofField number: UInt32, in type: String) -> String? {
    for word in words(of: type) {
      let name = word.prefix { $0 != UInt8(ascii: "=") }
      if word.dropFirst(name.count + 1).elementsEqual("\(number)".utf8) {
        return String(Substring(name))
      }
    }
    return nil
  }

  /// Whether the API has an extension with this configuration type.
  func hasExtension(_ type: String) -> Bool { extensionTypes.contains(type[...]) }

  /// The `name=number` of a message or an enum.
  private func words(of type: String) -> ArraySlice<Substring.UTF8View> {
    let line = linesByType[type[...]] ?? ""
    return line.utf8.split(separator: UInt8(ascii: " ")).dropFirst()
  }

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
