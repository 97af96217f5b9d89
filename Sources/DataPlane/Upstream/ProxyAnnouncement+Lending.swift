import Engine
import Inspection
import Telemetry
import Upstream

/// Who a connection to an endpoint is for.
struct AnnouncedClient {
  var remote = SocketAddress()
  var local = SocketAddress()
  /// What a proxy in front of us told of its connection.
  var told: ConnectionTLVs?
}

extension ProxyAnnouncement {
  /// The header that tells an endpoint of a client.
  /// - Parameter hasAll: whether everything that is to be told had room in it.
  func header(for client: AnnouncedClient) -> (bytes: [UInt8], hasAll: Bool) {
    let passed = client.told?.passed ?? .empty
    let room = ProxyHeader.roomForTLVs(version, from: client.remote, to: client.local)
    var tlvBytes = 0
    // Where there is no room for any, none is missed (as in Envoy).
    let hasAll = room == 0 || forEachTLV(of: passed, room: room) { tlvBytes += $0.whole.count }
    let capacity = ProxyHeader.longestWritten + tlvBytes
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count in
      guard let base = buffer.baseAddress else { return }
      // SAFETY: the memory holds the longest header without TLVs, and the TLVs.
      var out = unsafe ByteWriter(base: base, capacity: buffer.count)
      ProxyHeader.write(
        version, from: client.remote, to: client.local, tlvBytes: tlvBytes, into: &out)
      if tlvBytes > 0 { _ = forEachTLV(of: passed, room: room) { out.append($0.whole) } }
      count = out.count
    }
    return (bytes, hasAll)
  }
}

extension Ref where Value == ClusterView {
  /// What a connection of this cluster says first; empty where it says nothing.
  func announcement(of client: AnnouncedClient, _ stats: WorkerStats) -> [UInt8] {
    guard let announcement = value.config.value.announcement else { return [] }
    let header = announcement.value.header(for: client)
    if !header.hasAll, let id = value.stats.value.longAnnouncements { stats.add(id) }
    return header.bytes
  }
}

extension Ref where Value == Connection {
  /// Sends now what the socket takes and queues the rest.
  func write(_ bytes: [UInt8], on loop: EventLoop) {
    guard !bytes.isEmpty else { return }
    unsafe bytes.withUnsafeBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return }
      write(unsafe Bytes(base: base, count: buffer.count), on: loop)
    }
  }
}
