import FilterSDK
import GRPCStats
import Testing

@Suite("gRPC statistics filter")
struct GRPCStatsFilterTests {
  private let grpc = [("content-type", "application/grpc")]

  private func stream(_ document: Document = [:]) throws -> FakeStream {
    let stream = try FilterRig(grpcStatsFilter, document).stream()
    stream.texts[StreamText.upstreamCluster.rawValue] = "up"
    return stream
  }

  /// A message: flags, a length of four bytes, and so many bytes.
  private func message(_ count: Int) -> [UInt8] {
    [0, 0, 0, UInt8(count >> 8), UInt8(count & 255)] + [UInt8](repeating: 7, count: count)
  }

  @Test("all methods are counted together unless the configuration says otherwise")
  func together() throws {
    let stream = try stream()
    #expect(stream.requestHead(grpc, path: "/s.Echo/Say", end: false) == .continue)
    #expect(stream.responseHead(200, grpc, end: false) == .continue)
    #expect(stream.responseTrailers([("grpc-status", "0")]) == .continue)
    #expect(stream.named == ["grpc.0": 1, "grpc.success": 1, "grpc.total": 1])
  }

  @Test("a method counts by itself, under its name")
  func alone() throws {
    let stream = try stream(["stats_for_all_methods": true])
    _ = stream.requestHead(grpc, path: "/s.Echo/Say?q", end: false)
    _ = stream.responseHead(200, grpc + [("grpc-status", "5")])
    #expect(
      stream.named == [
        "grpc.s.Echo.Say.5": 1, "grpc.s.Echo.Say.failure": 1, "grpc.s.Echo.Say.total": 1,
      ])
  }

  @Test("dots in a service's name become underscores, if asked for")
  func dots() throws {
    let stream = try stream([
      "stats_for_all_methods": true, "replace_dots_in_grpc_service_name": true,
    ])
    _ = stream.requestHead(grpc, path: "/a.b/C.d", end: false)
    _ = stream.responseHead(200, grpc + [("grpc-status", "0")])
    #expect(stream.named["grpc.a_b.C.d.total"] == 1)
  }

  @Test(
    "messages count whatever pieces they come in",
    arguments: [1, 2, 3, 4, 5, 6, 7, 300, 1000])
  func pieces(size: Int) throws {
    let stream = try stream()
    _ = stream.requestHead(grpc, path: "/s/M", end: false)
    let body = message(3) + message(0) + message(300) + message(0)
    for start in stride(from: 0, to: body.count, by: size) {
      let piece = Array(body[start..<min(start + size, body.count)])
      #expect(stream.requestBody(piece, end: false) == .continue)
    }
    #expect(stream.named["grpc.request_message_count"] == 4)
  }

  @Test("what is no gRPC call is left", arguments: ["/one", "/one/two/three", "/", ""])
  func notACall(path: String) throws {
    let stream = try stream()
    _ = stream.requestHead(grpc, path: path, end: false)
    #expect(stream.hasLeft)
    let other = try self.stream()
    _ = other.requestHead([("content-type", "application/grpc-web")], path: "/a/b", end: false)
    #expect(other.hasLeft)
  }

  @Test("a method of 256 bytes and more is not counted by itself")
  func long() throws {
    let fits = try stream(["stats_for_all_methods": true])
    // "grpc." + service + "." + method + "." and room for the longest statistic.
    _ = fits.requestHead(grpc, path: "/s/" + String(repeating: "m", count: 224), end: false)
    #expect(!fits.hasLeft)
    let tooLong = try stream(["stats_for_all_methods": true])
    _ = tooLong.requestHead(grpc, path: "/s/" + String(repeating: "m", count: 225), end: false)
    #expect(tooLong.hasLeft)
  }

  @Test("a service of the allowlist needs a name and methods")
  func refused() {
    for service: Document in [["method_names": ["a"]], ["name": "s"]] {
      #expect(throws: FilterRig.Refused.self) {
        try FilterRig(
          grpcStatsFilter, ["individual_method_stats_allowlist": ["services": [service]]])
      }
    }
  }
}
