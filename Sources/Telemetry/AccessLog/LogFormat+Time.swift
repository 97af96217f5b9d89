import CLinux

/// Printing a moment.
extension LogFormat {
  @usableFromInline
  package func appendTime(
    _ moment: UInt64, local: Bool, pieces range: LogOp.Slice, _ renderer: LogRenderer,
    to sink: inout ByteSink
  ) {
    let (seconds, rest) = moment.quotientAndRemainder(dividingBy: 1_000_000_000)
    let nanoseconds = UInt32(truncatingIfNeeded: rest)
    for index in 0..<Int(range.length) {
      let piece = unsafe pieces[Int(range.offset) + index]
      switch piece.kind {
      case .calendar:
        renderer.appendCalendar(
          piece, format: bytes(piece.format), seconds: Int64(truncatingIfNeeded: seconds),
          local: local, to: &sink)
      case .literal: sink.append(bytes(piece.format))
      case .fraction: sink.appendFraction(nanoseconds: nanoseconds, digits: Int(piece.digits))
      case .trimmedFraction: Self.appendTrimmed(nanoseconds, withPoint: false, to: &sink)
      case .trimmedFractionWithPoint: Self.appendTrimmed(nanoseconds, withPoint: true, to: &sink)
      case .epoch: sink.appendDecimal(seconds)
      case .zone:
        let offset = local ? telemetry_zone_offset(Int64(truncatingIfNeeded: seconds)) : 0
        Self.appendZone(offset, withSeconds: piece.digits != 0, to: &sink)
      }
    }
  }

  /// A second's fraction without the zeros at its end.
  private static func appendTrimmed(
    _ nanoseconds: UInt32, withPoint: Bool, to sink: inout ByteSink
  ) {
    guard nanoseconds > 0 else {
      if !withPoint { sink.append(UInt8(ascii: "0")) }
      return
    }
    if withPoint { sink.append(UInt8(ascii: ".")) }
    var digits = 9
    var value = nanoseconds
    while value % 10 == 0 {
      value /= 10
      digits -= 1
    }
    sink.appendFraction(nanoseconds: nanoseconds, digits: digits)
  }

  /// `+01:00` or `+01:00:00`.
  private static func appendZone(_ offset: Int, withSeconds: Bool, to sink: inout ByteSink) {
    sink.append(UInt8(ascii: offset < 0 ? "-" : "+"))
    let seconds = UInt64(offset.magnitude)
    appendTwoDigits(seconds / 3600, to: &sink)
    sink.append(UInt8(ascii: ":"))
    appendTwoDigits(seconds / 60 % 60, to: &sink)
    guard withSeconds else { return }
    sink.append(UInt8(ascii: ":"))
    appendTwoDigits(seconds % 60, to: &sink)
  }

  private static func appendTwoDigits(_ number: UInt64, to sink: inout ByteSink) {
    if number < 10 { sink.append(UInt8(ascii: "0")) }
    sink.appendDecimal(number)
  }
}
