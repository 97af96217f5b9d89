// libFuzzer's entry into gRPC's message reader. The first byte chooses how the others are cut, the
// second how large a message may be; they are what a stream carries, and then it ends.

import GRPC

/// Keeps results alive: what nobody uses is optimised away, and the reader with it.
nonisolated(unsafe) public var sink = 0

/// How a stream's bytes went.
private struct Reading: Equatable {
  var messages: [[UInt8]] = []
  var failure: MessageReader.Failure?
}

/// What the bytes mean by gRPC's own description: a flag, a length of four bytes, the message.
private func expected(_ bytes: [UInt8], limit: Int) -> Reading {
  var reading = Reading()
  var place = 0
  while bytes.count - place >= 5 {
    let length = bytes[(place + 1)..<(place + 5)].reduce(0) { $0 * 256 + Int($1) }
    if bytes[place] > 1 {
      reading.failure = .badFlag(bytes[place])
    } else if bytes[place] == 1 {
      reading.failure = .compressed
    } else if length > limit {
      reading.failure = .tooLarge(bytes: UInt32(length), limit: limit)
    }
    guard reading.failure == nil else { return reading }
    guard bytes.count - place - 5 >= length else { break }
    reading.messages.append(Array(bytes[(place + 5)..<(place + 5 + length)]))
    place += 5 + length
  }
  if place < bytes.count { reading.failure = .truncated }
  return reading
}

/// Reads the bytes in pieces of `step`, as a stream hands them over.
private func read(_ bytes: [UInt8], limit: Int, step: Int) -> Reading {
  var reader = MessageReader(limit: limit)
  var reading = Reading()
  do throws(MessageReader.Failure) {
    var place = 0
    while place < bytes.count {
      let end = min(place + step, bytes.count)
      reader.append(bytes[place..<end])
      place = end
      while let message = try reader.next() { reading.messages.append(message) }
      precondition(reader.waitingBytes < 5 + limit, "no more waits than one message")
    }
    try reader.finish()
  } catch {
    reading.failure = error
  }
  return reading
}

/// Reads one input. Crashes when the reader breaks a promise.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
  guard let data, size > 2 else { return 0 }
  let bytes = Array(UnsafeBufferPointer(start: data + 2, count: size - 2))
  let limit = Int(data[1]) * 64
  let whole = expected(bytes, limit: limit)
  let pieces = read(bytes, limit: limit, step: 1 + Int(data[0]))
  precondition(pieces == whole, "bytes mean the same wherever they are cut")
  // What was read is what a writer of the same messages would have sent.
  var written: [UInt8] = []
  for message in whole.messages { written += MessageReader.head(of: message.count) + message }
  precondition(bytes.starts(with: written), "what is written is what was read")
  sink &+= pieces.messages.count
  return 0
}
