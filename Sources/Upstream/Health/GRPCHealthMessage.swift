/// The two messages of `grpc.health.v1`, small enough to be read and written by hand.
package enum GRPCHealthMessage {
  /// `HealthCheckRequest`: the service is field 1, a string.
  package static func request(service: [UInt8]) -> [UInt8] {
    guard !service.isEmpty else { return [] }
    var message: [UInt8] = [0x0A]
    var length = service.count
    while length > 127 {
      message.append(UInt8(truncatingIfNeeded: length) | 0x80)
      length >>= 7
    }
    return message + [UInt8(length)] + service
  }

  /// `HealthCheckResponse`: the status is field 1, an enum, in which SERVING is 1. The last one counts,
  /// and fields that a later version may have are passed over.
  package static func isServing(_ message: [UInt8]) -> Bool {
    var rest = message[...]
    var status: UInt64 = 0
    while !rest.isEmpty {
      guard let key = takeNumber(&rest) else { return false }
      switch key & 7 {
      case 0:
        guard let number = takeNumber(&rest) else { return false }
        if key >> 3 == 1 { status = number }
      case 1: guard drop(8, of: &rest) else { return false }
      case 2: guard let length = takeNumber(&rest), drop(length, of: &rest) else { return false }
      case 5: guard drop(4, of: &rest) else { return false }
      default: return false
      }
    }
    return status == 1
  }

  /// A number of at most ten bytes, seven bits in each, the least first.
  private static func takeNumber(_ rest: inout ArraySlice<UInt8>) -> UInt64? {
    var number: UInt64 = 0
    for shift in stride(from: UInt64(0), to: 70, by: 7) {
      guard let byte = rest.popFirst() else { return nil }
      number |= UInt64(byte & 0x7F) << shift
      if byte < 0x80 { return number }
    }
    return nil
  }

  private static func drop(_ count: UInt64, of rest: inout ArraySlice<UInt8>) -> Bool {
    guard count <= UInt64(rest.count) else { return false }
    rest = rest.dropFirst(Int(count))
    return true
  }
}
