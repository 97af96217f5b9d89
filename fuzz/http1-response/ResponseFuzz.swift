// libFuzzer's entry into the HTTP/1 response reader. The first byte chooses how the others are cut
// and which answers belong to HEAD requests; they are what an upstream sends on one connection.

/// Reads one input. Crashes when the reader breaks a promise of `Conversation`.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: data, count: size))
  guard let seed = bytes.first else { return 0 }
  compareSplits(bytes.dropFirst(), .responses(head: Int(seed % 4)), seed: seed)
  return 0
}
