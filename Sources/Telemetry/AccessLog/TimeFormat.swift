import Synchronization

/// A time format in Envoy's language: `strftime`, `%f` for nanoseconds, `%1f` to `%9f` for that
/// many digits of them, `%s` for seconds since 1970, and the `%E` forms.
struct TimeFormat {
  /// A piece before it has a place in the format's memory.
  enum Piece: Equatable {
    case calendar(String)
    case fraction(digits: UInt8)
    case trimmedFraction
    case trimmedFractionWithPoint
    case epoch
    case zone(withSeconds: Bool)
  }

  /// `%START_TIME%` without parentheses.
  static let defaultUTC = "%Y-%m-%dT%H:%M:%E3SZ"
  /// `%START_TIME_LOCAL%` without parentheses.
  static let defaultLocal = "%Y-%m-%dT%H:%M:%E3S%z"

  private static let nextID = Atomic<UInt32>(1)

  private(set) var pieces: [Piece] = []
  private var calendar = ""

  init(_ format: String) throws(LogFormatError) {
    var rest = Array(format.utf8)[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        try appendLiteral(byte)
        continue
      }
      try takeDirective(&rest)
    }
    flush()
  }

  /// A number that no other calendar piece of the process has.
  static func makeID() -> UInt32 {
    nextID.wrappingAdd(1, ordering: .relaxed).oldValue
  }

  private mutating func appendLiteral(_ byte: UInt8) throws(LogFormatError) {
    guard byte != 0x0A, byte != 0 else {
      throw LogFormatError("a time format must not contain a line break")
    }
    calendar.append(Character(UnicodeScalar(byte)))
  }

  private mutating func takeDirective(_ rest: inout ArraySlice<UInt8>) throws(LogFormatError) {
    guard let next = rest.first else {
      calendar += "%%"
      return
    }
    let following = rest.dropFirst().first
    switch next {
    case UInt8(ascii: "f"):
      rest.removeFirst()
      append(.fraction(digits: 9))
    case UInt8(ascii: "s"):
      rest.removeFirst()
      append(.epoch)
    case UInt8(ascii: "1")...UInt8(ascii: "9") where following == UInt8(ascii: "f"):
      rest.removeFirst(2)
      append(.fraction(digits: next - UInt8(ascii: "0")))
    case UInt8(ascii: "E"):
      rest.removeFirst()
      try takeExtended(&rest)
    case UInt8(ascii: "n"):
      throw LogFormatError("a time format must not contain a line break (%n)")
    default:
      rest.removeFirst()
      calendar += "%" + String(Character(UnicodeScalar(next)))
    }
  }

  /// `%E3S`, `%E*S`, `%E3f`, `%E*f`, `%Ez`, `%E*z`, `%E4Y`, `%ET`; other forms are `strftime`'s.
  private mutating func takeExtended(_ rest: inout ArraySlice<UInt8>) throws(LogFormatError) {
    let first = rest.first ?? 0
    let second = rest.dropFirst().first ?? 0
    switch (first, second) {
    case (UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "S")):
      rest.removeFirst(2)
      calendar += "%S"
      let digits = first - UInt8(ascii: "0")
      guard digits > 0 else { return }
      calendar += "."
      append(.fraction(digits: digits))
    case (UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "f")):
      rest.removeFirst(2)
      append(.fraction(digits: first - UInt8(ascii: "0")))
    case (UInt8(ascii: "*"), UInt8(ascii: "S")):
      rest.removeFirst(2)
      calendar += "%S"
      append(.trimmedFractionWithPoint)
    case (UInt8(ascii: "*"), UInt8(ascii: "f")):
      rest.removeFirst(2)
      append(.trimmedFraction)
    case (UInt8(ascii: "*"), UInt8(ascii: "z")):
      rest.removeFirst(2)
      append(.zone(withSeconds: true))
    case (UInt8(ascii: "4"), UInt8(ascii: "Y")):
      rest.removeFirst(2)
      calendar += "%Y"
    case (UInt8(ascii: "z"), _):
      rest.removeFirst()
      append(.zone(withSeconds: false))
    case (UInt8(ascii: "T"), _):
      rest.removeFirst()
      calendar += "T"
    default: calendar += "%E"
    }
  }

  private mutating func append(_ piece: Piece) {
    flush()
    pieces.append(piece)
  }

  private mutating func flush() {
    guard !calendar.isEmpty else { return }
    pieces.append(.calendar(calendar))
    calendar = ""
  }
}
