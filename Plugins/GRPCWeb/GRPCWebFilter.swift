import FilterSDK

/// The table for `envoy.extensions.filters.http.grpc_web.v3.GrpcWeb`.
public let grpcWebFilter = FilterTable(GRPCWebFilter.self)

/// Translates gRPC-Web, which browsers can speak, to gRPC and back: other content types, base64 for
/// clients that want text, and trailers as the body's last message.
///
/// Withstands an untrusted downstream, whose base64 is decoded as it comes and never kept, and an
/// untrusted upstream: of an answer that is not gRPC at most the buffer limit is held.
public struct GRPCWebFilter: RequestHeadFilter, RequestBodyFilter, ResponseHeadFilter,
  ResponseBodyFilter, ResponseTrailersFilter
{
  /// The last part of an answer that is not gRPC, which becomes `grpc-message`, in bytes: as in Envoy.
  static let messageBytes = 16 * 1024
  /// Marks a message that holds trailers.
  private static let trailersFlag: UInt8 = 0x80

  private var statistics: GRPCStatistics?
  private var isTextRequest = false
  private var isTextResponse = false
  /// The answer is not gRPC: its body is on its way into `grpc-message`.
  private var awaitsMessage = false
  private var decoder = Base64Decoder()
  private var encoder = MessageEncoder()

  public init(config: borrowing NoConfig) {}

  public mutating func onRequestHead(
    _ head: borrowing RequestHeadView, config: borrowing NoConfig,
    _ context: borrowing StreamContext
  ) -> Verdict {
    guard let path = head[":path"], let kind = head["content-type"].flatMap(Encoding.init) else {
      context.leave(Self.self)
      return .continue
    }
    isTextRequest = kind == .text
    isTextResponse = head["accept"].flatMap(Encoding.init) == .text
    if context.text(.upstreamCluster) != nil, let method = GRPCMethod(path: path) {
      statistics = GRPCStatistics(protocol: "grpc-web", method: method)
    }
    // It would be the length of what the client sends, not of what the upstream gets.
    head.remove("content-length")
    head["content-type"] = "application/grpc"
    head["te"] = "trailers"
    if head["grpc-accept-encoding"] == nil { head["grpc-accept-encoding"] = "identity" }
    return .continue
  }

  public mutating func onRequestBody(
    _ body: borrowing BodyView, config: borrowing NoConfig, _ context: borrowing StreamContext
  ) -> Verdict {
    guard isTextRequest else { return .continue }
    if body.endsStream, (decoder.pending + body.count) % 4 != 0 {
      return refuse("grpc_base_64_decode_failed_bad_size", context)
    }
    let (isBase64, count) = ByteOutput.withRoom(for: Base64Decoder.room(for: body.count)) {
      let isBase64 = decoder.decode(body.bytes, into: &$0)
      if isBase64 { body.replace(with: $0.view) }
      return (isBase64, $0.count)
    }
    guard isBase64 else { return refuse("grpc_base_64_decode_failed", context) }
    return count == 0 ? .drop : .continue
  }

  private func refuse(_ details: ByteView, _ context: borrowing StreamContext) -> Verdict {
    context.reply(
      status: 400, body: "Bad gRPC-web request, invalid base64 data.", details: details)
  }
}

// MARK: the way back

extension GRPCWebFilter {
  public mutating func onResponseHead(
    _ head: borrowing ResponseHeadView, config: borrowing NoConfig,
    _ context: borrowing StreamContext
  ) -> Verdict {
    statistics?.charge(status: head["grpc-status"], context)
    let isReadable = head.isGRPC || head.status == 200 && isBinaryGRPCWeb(head["content-type"])
    head.remove("content-length")
    head["content-type"] =
      isTextResponse ? "application/grpc-web-text+proto" : "application/grpc-web+proto"
    guard !head.endsStream, !isReadable else { return .continue }
    awaitsMessage = true
    return .buffer
  }

  public mutating func onResponseBody(
    _ body: borrowing BodyView, config: borrowing NoConfig, _ context: borrowing StreamContext
  ) -> Verdict {
    if awaitsMessage {
      awaitsMessage = false
      explain(body, context)
    } else if isTextResponse {
      ByteOutput.withRoom(for: MessageEncoder.room(for: body.count)) {
        encoder.encode(body.bytes, into: &$0)
        body.replace(with: $0.view)
      }
    }
    return .continue
  }

  public mutating func onResponseTrailers(
    _ trailers: borrowing TrailersView, config: borrowing NoConfig,
    _ context: borrowing StreamContext
  ) -> Verdict {
    statistics?.charge(status: trailers["grpc-status"], context)
    var length = 0
    trailers.forEachField {
      length += $0.name.count + $0.value.count + 3
      return true
    }
    // The host bounds trailers far below what a length of four bytes can say.
    let size = UInt32(clamping: length)
    ByteOutput.withRoom(for: length + 5) { message in
      message.append(Self.trailersFlag)
      message.append(bigEndian: size)
      trailers.forEachField {
        message.append($0.name)
        message.append(":")
        message.append($0.value)
        message.append("\r\n")
        return true
      }
      append(message.view, to: trailers)
    }
    removeAll(trailers)
    return .continue
  }

  private mutating func append(_ message: ByteView, to trailers: borrowing TrailersView) {
    guard isTextResponse else { return trailers.appendToBody(message) }
    ByteOutput.withRoom(for: MessageEncoder.room(for: message.count)) {
      encoder.encode(message, into: &$0)
      trailers.appendToBody($0.view)
    }
  }

  private func removeAll(_ trailers: borrowing TrailersView) {
    while true {
      var first: ByteView?
      trailers.forEachField {
        first = $0.name
        return false
      }
      guard let first else { return }
      trailers.remove(first)
    }
  }

  /// The answer's body becomes the message of a gRPC status, because a gRPC-Web client reads nothing
  /// else.
  private func explain(_ body: borrowing BodyView, _ context: borrowing StreamContext) {
    let text = body.bytes[0..<min(body.count, Self.messageBytes)]
    let head = context.responseHead
    ByteOutput.withRoom(for: text.count * 3) {
      PercentEncoding.append(text, to: &$0)
      head["grpc-message"] = $0.view
    }
    head.set("grpc-status", number: GRPCStatus.number(forHTTP: head.status))
    head.set("content-length", number: 0)
    body.replace(with: "")
  }

  private func isBinaryGRPCWeb(_ type: ByteView?) -> Bool {
    guard let type else { return false }
    var end = 0
    while end < type.count, type[end] != UInt8(ascii: ";") { end += 1 }
    let media = type[0..<end].trimmed
    return media.equalsIgnoringCase("application/grpc-web")
      || media.equalsIgnoringCase("application/grpc-web+proto")
  }
}

/// How a gRPC-Web body is written.
private enum Encoding {
  case binary
  case text

  /// nil for a type that is not gRPC-Web's. Envoy knows these four, as they are written here.
  init?(_ type: ByteView) {
    if type == "application/grpc-web" || type == "application/grpc-web+proto" {
      self = .binary
    } else if type == "application/grpc-web-text" || type == "application/grpc-web-text+proto" {
      self = .text
    } else {
      return nil
    }
  }
}

/// What gRPC makes of an HTTP status.
private enum GRPCStatus {
  static func number(forHTTP status: Int) -> UInt64 {
    switch status {
    case 400: 13
    case 401: 16
    case 403: 7
    case 404: 12
    case 429, 502, 503, 504: 14
    default: 2
    }
  }
}

/// `grpc-message` is text in which everything else is percent-encoded.
private enum PercentEncoding {
  static func append(_ text: ByteView, to output: inout ByteOutput) {
    let digits: ByteView = "0123456789ABCDEF"
    for index in 0..<text.count {
      let byte = text[index]
      if byte >= 0x20, byte <= 0x7E, byte != UInt8(ascii: "%") {
        output.append(byte)
      } else {
        output.append(UInt8(ascii: "%"))
        output.append(digits[Int(byte >> 4)])
        output.append(digits[Int(byte & 15)])
      }
    }
  }
}
