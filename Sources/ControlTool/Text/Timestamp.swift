import CLinux

/// Times as RFC 3339 writes them.
package enum Timestamp {
  package static var now: Int { time(nil) }

  /// `2026-11-26T12:00:00Z`.
  package static func text(_ second: Int) -> String {
    var moment = second
    var parts = unsafe tm()
    guard unsafe gmtime_r(&moment, &parts) != nil else { return "\(second)" }
    let year = unsafe parts.tm_year + 1900
    let day = unsafe "\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
    let hour = unsafe "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
    return "\(year)-\(day)T\(hour)Z"
  }

  private static func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }

  /// Seconds since 1970; nil when the text is no such time.
  package static func second(of text: String) -> Int? {
    let bytes = Array(text.utf8)
    func number(_ range: Range<Int>) -> Int32? {
      guard range.upperBound <= bytes.count else { return nil }
      return Int32(String(decoding: bytes[range], as: UTF8.self))
    }
    guard let year = number(0..<4), let month = number(5..<7), let day = number(8..<10),
      let hour = number(11..<13), let minute = number(14..<16), let second = number(17..<19),
      bytes[10] == UInt8(ascii: "T") || bytes[10] == UInt8(ascii: "t")
    else { return nil }
    var parts = unsafe tm()
    unsafe parts.tm_year = year &- 1900
    unsafe parts.tm_mon = month &- 1
    unsafe parts.tm_mday = day
    unsafe parts.tm_hour = hour
    unsafe parts.tm_min = minute
    unsafe parts.tm_sec = second
    guard let offset = offset(bytes[19...]) else { return nil }
    return unsafe timegm(&parts) - offset
  }

  /// Seconds east of Greenwich, after the fraction: `Z`, `+02:00`.
  private static func offset(_ rest: ArraySlice<UInt8>) -> Int? {
    let isDigit = { (byte: UInt8) in byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }
    var zone = rest
    if zone.first == UInt8(ascii: ".") { zone = zone.dropFirst().drop(while: isDigit) }
    if zone.elementsEqual("Z".utf8) || zone.elementsEqual("z".utf8) { return 0 }
    guard zone.count == 6, let sign = zone.first,
      sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-"),
      let hours = Int(String(decoding: zone.dropFirst().prefix(2), as: UTF8.self)),
      let minutes = Int(String(decoding: zone.suffix(2), as: UTF8.self))
    else { return nil }
    return (sign == UInt8(ascii: "-") ? -1 : 1) * (hours * 3600 + minutes * 60)
  }

  /// How long ago a moment was: `7s`, `10m`, `3h`, `2d`.
  package static func age(of moment: Int, at now: Int) -> String {
    let seconds = max(0, now - moment)
    return switch seconds {
    case ..<60: "\(seconds)s"
    case ..<3600: "\(seconds / 60)m"
    case ..<86_400: "\(seconds / 3600)h"
    default: "\(seconds / 86_400)d"
    }
  }
}
