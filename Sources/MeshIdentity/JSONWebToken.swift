import SwiftProtobuf

/// A signed token (JWS Compact Serialization, RFC 7515 §3.1) that says who somebody is (RFC 7519). Read,
/// and not yet believed.
struct JSONWebToken {
  typealias Object = [String: Google_Protobuf_Value]

  let algorithm: String
  let keyID: String?
  let claims: Object
  /// What the signature covers.
  let signed: [UInt8]
  let signature: [UInt8]

  /// Nil when the text is none, or one of a kind that needs more than we know.
  init?(_ text: String) {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard text.utf8.count <= IdentityLimits.tokenBytes, parts.count == 3,
      let head = Self.object(parts[0]), let claims = Self.object(parts[1]),
      let signature = Base64URL.decode(parts[2]),
      // Whoever does not understand what is critical has to refuse (RFC 7515 §4.1.11).
      head["crit"] == nil, let algorithm = head["alg"]?.text
    else { return nil }
    self.algorithm = algorithm
    keyID = head["kid"]?.text
    self.claims = claims
    self.signature = signature
    signed = Array(parts[0].utf8) + [UInt8(ascii: ".")] + Array(parts[1].utf8)
  }

  private static func object(_ part: Substring) -> Object? {
    guard let bytes = Base64URL.decode(part) else { return nil }
    return JSONObject.read(bytes)
  }

  /// `aud` is a name or a list of names (RFC 7519 §4.1.3).
  func isFor(_ audience: String) -> Bool {
    guard let value = claims["aud"] else { return false }
    if value.text == audience { return true }
    guard case .listValue(let list)? = value.kind else { return false }
    return list.values.contains { $0.text == audience }
  }

  /// A point in time, in seconds since 1970; nil when there is none, or one beyond all calendars.
  func time(_ name: String) -> Int? {
    guard case .numberValue(let number)? = claims[name]?.kind, number.isFinite,
      abs(number) < 1e15
    else { return nil }
    return Int(number)
  }
}

/// JSON objects, with swift-protobuf's bounds on their depth.
enum JSONObject {
  static func read(_ bytes: [UInt8]) -> JSONWebToken.Object? {
    try? Google_Protobuf_Struct(jsonUTF8Bytes: bytes).fields
  }
}

extension Google_Protobuf_Value {
  var text: String? {
    guard case .stringValue(let text)? = kind else { return nil }
    return text
  }
}

/// Base64 for URLs, without padding (RFC 7515 §2).
package enum Base64URL {
  /// Nil for any other character, and for bits that mean nothing: one value has one text.
  package static func decode(_ text: some StringProtocol) -> [UInt8]? {
    guard text.utf8.count % 4 != 1 else { return nil }
    var out: [UInt8] = []
    out.reserveCapacity(text.utf8.count / 4 * 3 + 2)
    var bits: UInt32 = 0
    var count: UInt32 = 0
    for character in text.utf8 {
      guard let value = sextet(character) else { return nil }
      bits = bits << 6 | value
      count += 6
      if count >= 8 {
        count -= 8
        out.append(UInt8(truncatingIfNeeded: bits >> count))
        bits &= (1 << count) - 1
      }
    }
    return bits == 0 ? out : nil
  }

  package static func encode(_ bytes: [UInt8]) -> String {
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
    var out: [UInt8] = []
    var bits: UInt32 = 0
    var count: UInt32 = 0
    for byte in bytes {
      bits = bits << 8 | UInt32(byte)
      count += 8
      while count >= 6 {
        count -= 6
        out.append(alphabet[Int(bits >> count & 63)])
        bits &= (1 << count) - 1
      }
    }
    if count > 0 { out.append(alphabet[Int(bits << (6 - count) & 63)]) }
    return String(decoding: out, as: UTF8.self)
  }

  private static func sextet(_ character: UInt8) -> UInt32? {
    switch character {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): UInt32(character - UInt8(ascii: "A"))
    case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt32(character - UInt8(ascii: "a") + 26)
    case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(character - UInt8(ascii: "0") + 52)
    case UInt8(ascii: "-"): 62
    case UInt8(ascii: "_"): 63
    default: nil
    }
  }
}
