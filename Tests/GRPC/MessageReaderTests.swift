import Testing

@testable import GRPC

@Suite("gRPC messages")
struct MessageReaderTests {
  static let stream: [UInt8] =
    MessageReader.head(of: 3) + [1, 2, 3] + MessageReader.head(of: 0) + MessageReader.head(of: 1)
    + [9]

  @Test("come out whole however they were cut", arguments: 0...stream.count, 0...stream.count)
  func everySplit(first: Int, second: Int) throws {
    var reader = MessageReader(limit: 3)
    var messages: [[UInt8]] = []
    let cuts = [0, min(first, second), max(first, second), Self.stream.count]
    for (start, end) in zip(cuts, cuts.dropFirst()) {
      reader.append(Self.stream[start..<end])
      while let message = try reader.next() { messages.append(message) }
    }
    try reader.finish()
    #expect(messages == [[1, 2, 3], [], [9]])
  }

  @Test("of the limit's size pass, larger ones are refused by their head")
  func limit() throws {
    var reader = MessageReader(limit: 4)
    reader.append(MessageReader.head(of: 4) + [1, 2, 3, 4])
    #expect(try reader.next() == [1, 2, 3, 4])
    reader.append(MessageReader.head(of: 5))
    #expect(throws: MessageReader.Failure.tooLarge(bytes: 5, limit: 4)) { try reader.next() }
  }

  @Test("that say four gigabytes take no memory")
  func huge() {
    var reader = MessageReader(limit: RPCLimits.responseBytes)
    reader.append([0, 0xFF, 0xFF, 0xFF, 0xFF])
    #expect(
      throws: MessageReader.Failure.tooLarge(bytes: .max, limit: RPCLimits.responseBytes)
    ) { try reader.next() }
  }

  @Test("that are compressed, or that begin with no flag, are refused")
  func flags() {
    var compressed = MessageReader(limit: 4)
    compressed.append([1, 0, 0, 0, 0])
    #expect(throws: MessageReader.Failure.compressed) { try compressed.next() }
    #expect(MessageReader.Failure.compressed.status(toClient: true).code == .unimplemented)
    #expect(MessageReader.Failure.compressed.status(toClient: false).code == .internal)
    var other = MessageReader(limit: 4)
    other.append([2, 0, 0, 0, 0])
    #expect(throws: MessageReader.Failure.badFlag(2)) { try other.next() }
  }

  @Test("that end early are no messages", arguments: 1..<8)
  func truncated(count: Int) throws {
    var reader = MessageReader(limit: 4)
    reader.append(Self.stream.prefix(count))
    #expect(try reader.next() == nil)
    #expect(throws: MessageReader.Failure.truncated) { try reader.finish() }
  }
}
