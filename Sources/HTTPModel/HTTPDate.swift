import Engine

/// Dates as HTTP writes them.
package enum HTTPDate {
  private static let days: StaticString = "ThuFriSatSunMonTueWed"
  private static let months: StaticString = "JanFebMarAprMayJunJulAugSepOctNovDec"

  /// Appends `Sun, 06 Nov 1994 08:49:37 GMT`, which is always 29 bytes.
  package static func append(_ secondsSince1970: UInt64, to out: inout ByteWriter) {
    let (year, month, day) = civil(fromDays: Int(secondsSince1970 / 86_400))
    let weekday = Int(secondsSince1970 / 86_400 % 7)
    let second = Int(secondsSince1970 % 86_400)
    out.append(Bytes(days)[weekday * 3, weekday * 3 + 3])
    out.append(", ")
    pair(day, to: &out)
    out.append(" ")
    out.append(Bytes(months)[(month - 1) * 3, month * 3])
    out.append(" ")
    out.append(decimal: year)
    out.append(" ")
    pair(second / 3600, to: &out)
    out.append(":")
    pair(second / 60 % 60, to: &out)
    out.append(":")
    pair(second % 60, to: &out)
    out.append(" GMT")
  }

  private static func pair(_ number: Int, to out: inout ByteWriter) {
    out.append(UInt8(truncatingIfNeeded: 48 + number / 10))
    out.append(UInt8(truncatingIfNeeded: 48 + number % 10))
  }

  /// The Gregorian date of a day since 1970 (Hinnant, "chrono-compatible low-level date algorithms").
  package static func civil(fromDays days: Int) -> (year: Int, month: Int, day: Int) {
    let shifted = days + 719_468
    let era = shifted / 146_097
    let dayOfEra = shifted % 146_097
    let yearOfEra =
      (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
    let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
  }
}
