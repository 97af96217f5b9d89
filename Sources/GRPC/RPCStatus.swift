import HTTPCodec

/// gRPC's status codes.
package enum RPCCode: UInt8, CaseIterable, Sendable {
  case ok = 0
  case cancelled = 1
  case unknown = 2
  case invalidArgument = 3
  case deadlineExceeded = 4
  case notFound = 5
  case alreadyExists = 6
  case permissionDenied = 7
  case resourceExhausted = 8
  case failedPrecondition = 9
  case aborted = 10
  case outOfRange = 11
  case unimplemented = 12
  case `internal` = 13
  case unavailable = 14
  case dataLoss = 15
  case unauthenticated = 16
}

/// How a call ended: a code, and a sentence for people.
package struct RPCStatus: Error, Equatable, Sendable {
  package let code: RPCCode
  package let message: String

  package init(_ code: RPCCode, _ message: String = "") {
    self.code = code
    self.message = message
  }

  package static let ok = RPCStatus(.ok)
}

extension RPCStatus {
  /// What an HTTP status means where a peer does not speak gRPC (gRPC: "HTTP to gRPC Status Code
  /// Mapping").
  static func fromHTTP(_ status: Int) -> RPCStatus {
    let code: RPCCode =
      switch status {
      case 400: .internal
      case 401: .unauthenticated
      case 403: .permissionDenied
      case 404: .unimplemented
      case 429, 502, 503, 504: .unavailable
      default: .unknown
      }
    return RPCStatus(code, "the peer answered with HTTP status \(status)")
  }

  /// What a stream's error code means (gRPC over HTTP/2, "Errors").
  static func fromReset(_ code: UInt32) -> RPCStatus {
    let meaning: RPCCode =
      switch code {
      case HTTP2Code.refusedStream: .unavailable
      case HTTP2Code.cancel: .cancelled
      case HTTP2Code.enhanceYourCalm: .resourceExhausted
      default: .internal
      }
    return RPCStatus(meaning, "the peer reset the stream with HTTP/2 error \(code)")
  }

  /// What a peer's trailers say. Without `grpc-status` the answer is no gRPC.
  static func fromTrailers(_ fields: RPCFields) -> RPCStatus {
    guard let text = fields["grpc-status"] else {
      return RPCStatus(.unknown, "the answer ended without a grpc-status")
    }
    let message = PercentCoding.decode(fields["grpc-message"] ?? "")
    guard let number = UInt8(text), let code = RPCCode(rawValue: number) else {
      return RPCStatus(.unknown, message.isEmpty ? "the peer's grpc-status is '\(text)'" : message)
    }
    return RPCStatus(code, message)
  }

  /// The fields that say so.
  var fields: RPCFields {
    var fields: RPCFields = [("grpc-status", String(code.rawValue))]
    if !message.isEmpty { fields.add("grpc-message", PercentCoding.encode(message)) }
    return fields
  }
}

/// How `grpc-message` writes text that a field cannot hold: as in a URL, but blanks stay.
enum PercentCoding {
  /// Every byte outside of printable ASCII, and `%` itself, as `%XX`.
  static func encode(_ text: String) -> String {
    var out: [UInt8] = []
    for byte in text.utf8 {
      if byte >= 0x20, byte <= 0x7E, byte != UInt8(ascii: "%") {
        out.append(byte)
      } else {
        out.append(UInt8(ascii: "%"))
        out.append(digit(byte >> 4))
        out.append(digit(byte & 15))
      }
    }
    return String(decoding: out, as: UTF8.self)
  }

  /// The text again. What is no escape stays as it is, because the message is for people.
  static func decode(_ text: String) -> String {
    let bytes = Array(text.utf8)
    var out: [UInt8] = []
    var index = 0
    while index < bytes.count {
      if bytes[index] == UInt8(ascii: "%"), index + 2 < bytes.count,
        let high = value(bytes[index + 1]), let low = value(bytes[index + 2])
      {
        out.append(high << 4 | low)
        index += 3
      } else {
        out.append(bytes[index])
        index += 1
      }
    }
    return String(decoding: out, as: UTF8.self)
  }

  private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? 48 + value : 55 + value }

  private static func value(_ digit: UInt8) -> UInt8? {
    switch digit {
    case 48...57: digit - 48
    case 65...70: digit - 55
    case 97...102: digit - 87
    default: nil
    }
  }
}
