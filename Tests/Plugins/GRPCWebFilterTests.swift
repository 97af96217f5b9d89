import FilterSDK
import GRPCWeb
import Testing

@Suite("gRPC-Web filter")
struct GRPCWebFilterTests {
  private let binary = "application/grpc-web+proto"
  private let text = "application/grpc-web-text+proto"

  private func stream(_ type: String, accept: String = "*/*") throws -> FakeStream {
    let stream = try FilterRig(grpcWebFilter).stream()
    stream.texts[StreamText.upstreamCluster.rawValue] = "up"
    let head = [("content-type", type), ("accept", accept), ("content-length", "8")]
    #expect(stream.requestHead(head, path: "/s/M", end: false) == .continue)
    return stream
  }

  @Test("the request becomes gRPC")
  func request() throws {
    let stream = try stream(binary)
    #expect(stream.request("content-type") == "application/grpc")
    #expect(stream.request("te") == "trailers")
    #expect(stream.request("grpc-accept-encoding") == "identity")
    #expect(stream.request("content-length") == nil)
  }

  @Test("other types are left", arguments: ["application/grpc", "application/grpc-web;a", "x"])
  func others(type: String) throws {
    #expect(try stream(type).hasLeft)
  }

  @Test("text is read whatever pieces it comes in", arguments: 1...13)
  func pieces(size: Int) throws {
    let stream = try stream(text)
    let encoded = Array("AAAAAAJoaQ==AAAAAAA=".utf8)
    var decoded: [UInt8] = []
    for start in stride(from: 0, to: encoded.count, by: size) {
      let piece = Array(encoded[start..<min(start + size, encoded.count)])
      let verdict = stream.requestBody(piece, end: start + size >= encoded.count)
      if verdict != .drop { decoded += stream.takeReplacement() ?? piece }
    }
    #expect(decoded == [0, 0, 0, 0, 2] + Array("hi".utf8) + [0, 0, 0, 0, 0])
    #expect(stream.reply == nil)
  }

  @Test(
    "what is not base64 is refused",
    arguments: ["AAA*", "A===", "====", "AB==", "AAB=", "AA=A", "AAAA\n"])
  func notBase64(body: String) throws {
    let stream = try stream(text)
    #expect(stream.requestBody(body, end: false) == .replied)
    #expect(stream.reply?.status == 400)
    #expect(stream.reply?.details == "grpc_base_64_decode_failed")
  }

  @Test("text that is cut off is refused at its end")
  func cutOff() throws {
    let stream = try stream(text)
    #expect(stream.requestBody("AAA", end: false) == .drop)
    #expect(stream.requestBody("", end: true) == .replied)
    #expect(stream.reply?.details == "grpc_base_64_decode_failed_bad_size")
  }

  @Test("each message of an answer in text is padded by itself", arguments: 1...12)
  func response(size: Int) throws {
    let stream = try stream(text, accept: text)
    #expect(
      stream.responseHead(200, [("content-type", "application/grpc")], end: false) == .continue)
    #expect(stream.response("content-type") == text)
    let body: [UInt8] = [0, 0, 0, 0, 2, 104, 105, 0, 0, 0, 0, 0]
    var written: [UInt8] = []
    for start in stride(from: 0, to: body.count, by: size) {
      _ = stream.responseBody(Array(body[start..<min(start + size, body.count)]), end: false)
      written += stream.takeReplacement() ?? []
    }
    #expect(String(decoding: written, as: UTF8.self) == "AAAAAAJoaQ==AAAAAAA=")
    #expect(stream.responseTrailers([("grpc-status", "0"), ("a", "b")]) == .continue)
    #expect(stream.takeAppended() == Array("gAAAABRncnBjLXN0YXR1czowDQphOmINCg==".utf8))
    #expect(stream.fields[3]?.isEmpty == true)
    #expect(stream.named["grpc-web.s.M.success"] == 1)
  }

  @Test("an answer that is not gRPC becomes a status with a message")
  func explained() throws {
    let stream = try stream(binary)
    #expect(stream.responseHead(503, [("content-type", "text/html")], end: false) == .buffer)
    #expect(stream.responseBody("<b>50%\n", end: true) == .continue)
    #expect(stream.takeReplacement() == [])
    #expect(stream.response("grpc-status") == "14")
    #expect(stream.response("grpc-message") == "<b>50%25%0A")
    #expect(stream.response("content-type") == binary)
  }
}
