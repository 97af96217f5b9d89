import HTTPModel

/// Times as people and machines read them.
package enum RFC3339 {
  /// `2026-11-22T23:38:39.545Z` (RFC 3339).
  /// - Parameter nanoseconds: since 1970.
  package static func text(nanoseconds: UInt64) -> String {
    let seconds = Int(nanoseconds / 1_000_000_000)
    let (year, month, day) = HTTPDate.civil(fromDays: seconds / 86_400)
    func digits(_ number: Int, _ count: Int) -> String {
      let text = String(number)
      return String(repeating: "0", count: max(0, count - text.count)) + text
    }
    return "\(digits(year, 4))-\(digits(month, 2))-\(digits(day, 2))T"
      + "\(digits(seconds / 3600 % 24, 2)):\(digits(seconds / 60 % 60, 2)):"
      + "\(digits(seconds % 60, 2)).\(digits(Int(nanoseconds / 1_000_000 % 1000), 3))Z"
  }
}
