/// `%GRPC_STATUS%`: what a response says in gRPC's terms.
@usableFromInline
package enum GRPCStatus {
  /// From the trailers, else from the headers, else from the HTTP status; absent for requests that
  /// are not gRPC.
  @inlinable
  package static func value<Source: LogSource & ~Copyable>(
    _ op: LogOpReference, _ source: borrowing Source, _ scratch: inout ByteSink
  ) -> LogValue {
    let contentType = LogHeaderName(bytes: LogBytes("content-type"), known: 0)
    guard let type = source.header(.request, contentType), isGRPC(type) else { return .absent }
    let name = LogHeaderName(bytes: LogBytes("grpc-status"), known: 0)
    if let text = source.header(.responseTrailer, name) ?? source.header(.response, name) {
      guard let code = number(text) else { return .absent }
      return printed(code, op)
    }
    guard case .number(let status) = source.value(of: .responseCode, scratch: &scratch) else {
      return .absent
    }
    return printed(code(forHTTPStatus: status), op)
  }

  /// `application/grpc` and its variants (`+proto`, `;…`).
  @usableFromInline
  package static func isGRPC(_ type: LogBytes) -> Bool {
    let wanted: StaticString = "application/grpc"
    let bytes = unsafe type.buffer
    guard unsafe bytes.starts(with: LogBytes(wanted).buffer) else { return false }
    let length = wanted.utf8CodeUnitCount
    guard bytes.count > length else { return true }
    let next = unsafe bytes[length]
    return next == UInt8(ascii: "+") || next == UInt8(ascii: ";")
  }

  /// One or two digits.
  @usableFromInline
  package static func number(_ text: LogBytes) -> Int? {
    guard (1...2).contains(text.count) else { return nil }
    var value = 0
    for index in 0..<text.count {
      let byte = unsafe text.buffer[index]
      guard (0x30...0x39).contains(byte) else { return nil }
      value = value * 10 + Int(byte - 0x30)
    }
    return value
  }

  /// The gRPC status for an HTTP status (gRPC: "HTTP to gRPC Status Code Mapping").
  @usableFromInline
  package static func code(forHTTPStatus status: Int64) -> Int {
    switch status {
    case 400: 13
    case 401: 16
    case 403: 7
    case 404: 12
    case 429, 502, 503, 504: 14
    default: 2
    }
  }

  @usableFromInline
  package static func printed(_ code: Int, _ op: LogOpReference) -> LogValue {
    guard op.grpcStyle != .number, code < names.count else {
      return .number(Int64(code))
    }
    let isSnake = op.grpcStyle == .snake
    return .bytes(LogBytes(isSnake ? names[code].snake : names[code].camel))
  }

  private static let names: [(camel: StaticString, snake: StaticString)] = [
    ("OK", "OK"), ("Canceled", "CANCELLED"), ("Unknown", "UNKNOWN"),
    ("InvalidArgument", "INVALID_ARGUMENT"), ("DeadlineExceeded", "DEADLINE_EXCEEDED"),
    ("NotFound", "NOT_FOUND"), ("AlreadyExists", "ALREADY_EXISTS"),
    ("PermissionDenied", "PERMISSION_DENIED"), ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
    ("FailedPrecondition", "FAILED_PRECONDITION"), ("Aborted", "ABORTED"),
    ("OutOfRange", "OUT_OF_RANGE"), ("Unimplemented", "UNIMPLEMENTED"),
    ("Internal", "INTERNAL"), ("Unavailable", "UNAVAILABLE"), ("DataLoss", "DATA_LOSS"),
    ("Unauthenticated", "UNAUTHENTICATED"),
  ]
}
