import Engine
import Inspection
import Upstream

extension ProxyHeader {
  /// Lends the header that tells an endpoint of a client's connection.
  static func lend(
    _ version: ProxyHeaderVersion, from source: SocketAddress, to destination: SocketAddress,
    _ body: (Bytes) -> Void
  ) {
    var memory = InlineArray<108, UInt8>(repeating: 0)
    var span = memory.mutableSpan
    unsafe span.withUnsafeMutableBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return }
      var out = unsafe ByteWriter(base: base, capacity: buffer.count)
      write(version == .v1 ? .v1 : .v2, from: source, to: destination, into: &out)
      body(out.written)
    }
  }
}
