/// XXH64 with seed 0, which Envoy shows versions by.
package enum XXHash64 {
  private static let prime1: UInt64 = 0x9E37_79B1_85EB_CA87
  private static let prime2: UInt64 = 0xC2B2_AE3D_27D4_EB4F
  private static let prime3: UInt64 = 0x1656_67B1_9E37_79F9
  private static let prime4: UInt64 = 0x85EB_CA77_C2B2_AE63
  private static let prime5: UInt64 = 0x27D4_EB2F_1656_67C5

  /// The hash of a text's bytes.
  package static func hash(_ text: String) -> UInt64 { hash(Array(text.utf8)) }

  /// Sixteen digits, as versions are written.
  package static func hexadecimal(_ bytes: [UInt8]) -> String {
    let digits = String(hash(bytes), radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }

  /// The hash of bytes.
  package static func hash(_ bytes: [UInt8]) -> UInt64 {
    var rest = bytes[...]
    var hash: UInt64
    if bytes.count >= 32 {
      var lanes = [prime1 &+ prime2, prime2, 0, 0 &- prime1]
      while rest.count >= 32 {
        for lane in lanes.indices { lanes[lane] = round(lanes[lane], word(&rest, 8)) }
      }
      hash =
        rotate(lanes[0], 1) &+ rotate(lanes[1], 7) &+ rotate(lanes[2], 12) &+ rotate(lanes[3], 18)
      for lane in lanes { hash = (hash ^ round(0, lane)) &* prime1 &+ prime4 }
    } else {
      hash = prime5
    }
    hash &+= UInt64(bytes.count)
    while rest.count >= 8 {
      hash = rotate(hash ^ round(0, word(&rest, 8)), 27) &* prime1 &+ prime4
    }
    if rest.count >= 4 {
      hash = rotate(hash ^ word(&rest, 4) &* prime1, 23) &* prime2 &+ prime3
    }
    while !rest.isEmpty { hash = rotate(hash ^ word(&rest, 1) &* prime5, 11) &* prime1 }
    hash = (hash ^ hash >> 33) &* prime2
    hash = (hash ^ hash >> 29) &* prime3
    return hash ^ hash >> 32
  }

  private static func round(_ lane: UInt64, _ word: UInt64) -> UInt64 {
    rotate(lane &+ word &* prime2, 31) &* prime1
  }

  private static func rotate(_ value: UInt64, _ bits: UInt64) -> UInt64 {
    value << bits | value >> (64 - bits)
  }

  /// The next `count` bytes, the lowest first.
  private static func word(_ rest: inout ArraySlice<UInt8>, _ count: Int) -> UInt64 {
    let word = rest.prefix(count).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    rest = rest.dropFirst(count)
    return word
  }
}
