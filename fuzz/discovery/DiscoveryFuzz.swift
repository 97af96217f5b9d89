// libFuzzer's entry into the xDS protocol. The first byte chooses the variant and who is tried: our side
// as a client, as a server, or both, talking to each other. Steps follow, each a byte with what it needs.

import Resources

@testable import XDSClient

/// Keeps results alive: what nobody uses is optimised away, and the reader with it.
nonisolated(unsafe) public var sink = 0

/// The steps of one input.
struct Steps {
  private var rest: ArraySlice<UInt8>

  init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

  mutating func next() -> UInt8? { rest.popFirst() }

  /// A number below a bound.
  mutating func number(below bound: Int) -> Int { Int(rest.popFirst() ?? 0) % bound }

  /// A message with its length in front.
  mutating func message() -> [UInt8] {
    let length = number(below: 256) << 8 | number(below: 256)
    defer { rest = rest.dropFirst(length) }
    return Array(rest.prefix(length))
  }
}

/// What is asked for by name.
let names = ["a", "b", "c"]

let types: [ResourceType] = [.clusters, .endpoints, .listeners, .routes]

/// Reads one input. Crashes when somebody breaks the protocol.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: data, count: size))
  guard let first = bytes.first else { return 0 }
  let variant: DiscoveryVariant = first & 1 == 0 ? .stateOfTheWorld : .delta
  let steps = Steps(bytes.dropFirst())
  // As letters: `0` and `1` for the client, `2` and `3` for the server, `4` and `5` for both.
  switch (first >> 1) % 3 {
  case 0: ClientTrial(variant).run(steps)
  case 1: ServerTrial(variant).run(steps)
  default: PairTrial(variant).run(steps)
  }
  return 0
}
