// libFuzzer's entry into the configuration reader. Any bytes may be a bootstrap; whatever they are,
// the reader ends within its bounds, and what it reports is true.

import Resources

/// A result that nothing reads would be optimised away, and the reader with it.
nonisolated(unsafe) public var sink = 0

@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: data, count: size))
  // The first byte chooses how the rest is read: as YAML, as JSON, or as two documents of which
  // one is laid over the other.
  let rest = Array(bytes.dropFirst())
  let mode = bytes.first ?? 0
  // A resource as a control plane would send it; its second byte chooses the type.
  if mode == UInt8(ascii: "b") { return readResource(rest) }
  var sources = [BootstrapSource(name: "fuzz", bytes: rest, isJSON: mode == UInt8(ascii: "j"))]
  if mode == UInt8(ascii: "m"), let split = rest.firstIndex(of: 0x1e) {
    sources = [
      BootstrapSource(name: "base", bytes: Array(rest[..<split])),
      BootstrapSource(name: "over", bytes: Array(rest[(split + 1)...])),
    ]
  }
  let loaded = BootstrapLoader.load(sources)
  for line in loaded.diagnostics.rendered {
    precondition(!line.utf8.contains(10), "a report spans lines")
    precondition(!line.contains("internal error"), "the writer's bytes do not decode")
  }
  sink &+= loaded.bootstrap.staticResources.listeners.count &+ loaded.diagnostics.errorCount
  return 0
}

private func readResource(_ bytes: [UInt8]) -> CInt {
  let types = ResourceType.allCases
  let type = types[Int(bytes.first ?? 0) % types.count].rawValue
  guard
    let resource = try? DiscoveryMessage.read(
      typeURL: "type.googleapis.com/" + type, value: Array(bytes.dropFirst()), origin: "fuzz")
  else { preconditionFailure("a type that the model has is unknown") }
  for line in resource.problems { precondition(!line.utf8.contains(10), "a report spans lines") }
  // What was understood says the same when it is read again.
  if resource.isFit {
    let again = try? DiscoveryMessage.read(
      typeURL: "type.googleapis.com/" + type, value: resource.bytes, origin: "fuzz")
    precondition(again?.bytes == resource.bytes, "the writer's bytes read differently")
  }
  sink &+= resource.bytes.count
  return 0
}
