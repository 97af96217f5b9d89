import Testing

@testable import GRPC

@Suite("What calls say in header fields")
struct RPCValuesTests {
  @Test(
    "a message survives the way through a field",
    arguments: ["", "plain", "50% off", "zwei\nZeilen", "grüße", "a\u{7F}b", "%41"])
  func percent(text: String) {
    let encoded = PercentCoding.encode(text)
    #expect(encoded.utf8.allSatisfy { $0 >= 0x20 && $0 <= 0x7E })
    #expect(PercentCoding.decode(encoded) == text)
  }

  @Test("what is no escape stays as it is", arguments: ["%", "%4", "%zz", "100%"])
  func noEscape(text: String) { #expect(PercentCoding.decode(text) == text) }

  @Test(
    "trailers tell how the call ended",
    arguments: [
      ("0", RPCCode.ok), ("5", .notFound), ("16", .unauthenticated), ("17", .unknown),
      ("", .unknown), ("-1", .unknown), ("five", .unknown),
    ])
  func trailers(text: String, code: RPCCode) {
    #expect(RPCStatus.fromTrailers([("grpc-status", text)]).code == code)
  }

  @Test("an answer without a grpc-status is none")
  func missingStatus() {
    #expect(RPCStatus.fromTrailers([("grpc-message", "well")]).code == .unknown)
  }

  @Test(
    "HTTP's errors have gRPC codes",
    arguments: [
      (400, RPCCode.internal), (401, .unauthenticated), (403, .permissionDenied),
      (404, .unimplemented), (429, .unavailable), (503, .unavailable), (500, .unknown),
      (302, .unknown),
    ])
  func http(status: Int, code: RPCCode) { #expect(RPCStatus.fromHTTP(status).code == code) }

  @Test(
    "timeouts are read in all units, and rounded up",
    arguments: [
      ("1H", 3_600_000), ("2M", 120_000), ("3S", 3000), ("4m", 4), ("1500u", 2), ("1n", 1),
      ("0n", 0), ("99999999m", 99_999_999), ("99999999H", RPCLimits.timeoutMilliseconds),
    ] as [(String, UInt64)])
  func timeout(text: String, milliseconds: UInt64) {
    #expect(RPCTimeout.milliseconds(text) == milliseconds)
  }

  @Test(
    "other texts are no timeouts", arguments: ["", "S", "1", "1x", "123456789S", "-1S", "1.5S"])
  func noTimeout(text: String) { #expect(RPCTimeout.milliseconds(text) == nil) }

  @Test(
    "a timeout is read as it was written", arguments: [0, 1, 99_999_999, 100_000_000] as [UInt64])
  func timeoutText(milliseconds: UInt64) {
    #expect(RPCTimeout.milliseconds(RPCTimeout.text(milliseconds)) == milliseconds)
  }

  @Test("waits stay below a bound that doubles up to thirty seconds, and begins anew")
  func backoff() {
    var backoff = RPCBackoff()
    let bounds: [UInt64] = [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]
    #expect(bounds.map { _ in backoff.next(random: .max) } == bounds.map { UInt64.max % $0 })
    backoff.reset()
    #expect(backoff.next(random: 499) == 499)
  }

  @Test(
    "only gRPC's content types are gRPC",
    arguments: [
      ("application/grpc", true), ("application/grpc+proto", true), ("application/grpc;x", true),
      ("application/grpc-web", false), ("application/json", false), ("", false),
    ])
  func contentType(type: String, isGRPC: Bool) {
    #expect(RPCFields([("content-type", type)]).areGRPC == isGRPC)
  }
}

extension RPCFields {
  init(_ list: [(String, String)]) {
    self = []
    for field in list { add(field.0, field.1) }
  }
}
