import Testing

@testable import Upstream

@Suite("Messages of gRPC's health checks")
struct GRPCHealthMessageTests {
  @Test("a service is asked for by its name, and the server as a whole by none")
  func request() {
    #expect(GRPCHealthMessage.request(service: []) == [])
    #expect(GRPCHealthMessage.request(service: [1, 2]) == [0x0A, 2, 1, 2])
    let name = [UInt8](repeating: 7, count: 300)
    #expect(GRPCHealthMessage.request(service: name) == [0x0A, 0xAC, 2] + name)
  }

  @Test(
    "a server that serves says so in any of protobuf's ways",
    arguments: [
      [8, 1], [8, 0x81, 0], [8, 2, 8, 1], [0x88, 0, 1],
      // Fields that nobody knows yet: a number, eight bytes, a string, four bytes.
      [16, 9, 8, 1], [17, 0, 0, 0, 0, 0, 0, 0, 0, 8, 1], [26, 2, 8, 2, 8, 1],
      [8, 1, 37, 0, 0, 0, 0],
    ] as [[UInt8]])
  func serving(message: [UInt8]) {
    #expect(GRPCHealthMessage.isServing(message))
    for length in 0..<message.count {
      // Cut anywhere, it is read without a trap.
      _ = GRPCHealthMessage.isServing(Array(message.prefix(length)))
    }
  }

  @Test(
    "anything else is no such answer",
    arguments: [
      [], [8], [8, 0], [8, 2], [8, 3], [8, 1, 8, 2], [16, 1], [8, 0x81], [10, 1], [11, 1],
      [8, 1, 10],
      [8, 1, 10, 1], [8, 1, 37, 0], [8, 1, 17, 0], [8, 1, 12],
      [8, 0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0],
      [8, 1, 10, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1],
    ] as [[UInt8]])
  func notServing(message: [UInt8]) {
    #expect(!GRPCHealthMessage.isServing(message))
  }
}
