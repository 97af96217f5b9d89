/// `grpc-timeout`: at most eight digits and a unit.
enum RPCTimeout {
  /// Milliseconds, rounded up so that no deadline comes early; nil when it is none.
  static func milliseconds(_ text: String) -> UInt64? {
    let digits = text.utf8.dropLast()
    guard (1...8).contains(digits.count), digits.allSatisfy({ (48...57).contains($0) }),
      let unit = text.utf8.last
    else { return nil }
    let number = digits.reduce(UInt64(0)) { $0 * 10 + UInt64($1 - 48) }
    let nanoseconds: UInt64
    switch unit {
    case UInt8(ascii: "H"): nanoseconds = 3_600_000_000_000
    case UInt8(ascii: "M"): nanoseconds = 60_000_000_000
    case UInt8(ascii: "S"): nanoseconds = 1_000_000_000
    case UInt8(ascii: "m"): nanoseconds = 1_000_000
    case UInt8(ascii: "u"): nanoseconds = 1000
    case UInt8(ascii: "n"): nanoseconds = 1
    default: return nil
    }
    // Eight digits of hours are below 2^60 milliseconds, but not in nanoseconds.
    let milliseconds =
      nanoseconds >= 1_000_000
      ? number * (nanoseconds / 1_000_000) : (number * nanoseconds + 999_999) / 1_000_000
    return min(milliseconds, RPCLimits.timeoutMilliseconds)
  }

  /// The text for so many milliseconds.
  static func text(_ milliseconds: UInt64) -> String {
    milliseconds < 100_000_000 ? "\(milliseconds)m" : "\(min(milliseconds / 1000, 99_999_999))S"
  }
}
