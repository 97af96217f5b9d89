import CNghttp2
import Engine
import HTTPModel

/// The fields of one header section on their way into HPACK: views, copied when they are submitted.
/// One list serves a whole worker.
@safe
package struct HTTP2FieldList: ~Copyable {
  // SAFETY: holds `capacity` entries; `count` never exceeds it.
  private var entries: UnsafeMutablePointer<nghttp2_nv>
  private var capacity = 64
  package private(set) var count = 0

  package init() { unsafe entries = .allocate(capacity: 64) }

  deinit { unsafe entries.deallocate() }

  var base: UnsafePointer<nghttp2_nv> { unsafe UnsafePointer(entries) }

  /// Begins anew.
  package mutating func removeAll() { count = 0 }

  /// Adds one field; its text must stay until the list is submitted.
  package mutating func add(_ name: Bytes, _ value: Bytes) {
    if count == capacity { grow() }
    unsafe (entries + count).initialize(
      to: nghttp2_nv(
        name: UnsafeMutablePointer(mutating: name.base),
        value: UnsafeMutablePointer(mutating: value.base), namelen: name.count,
        valuelen: value.count, flags: UInt8(NGHTTP2_NV_FLAG_NONE.rawValue)))
    count &+= 1
  }

  private mutating func grow() {
    let larger = UnsafeMutablePointer<nghttp2_nv>.allocate(capacity: capacity * 2)
    unsafe larger.moveInitialize(from: entries, count: count)
    unsafe entries.deallocate()
    unsafe entries = larger
    capacity *= 2
  }

  /// Adds what HTTP/2 carries of a message's fields: neither pseudo fields nor what speaks of one
  /// HTTP/1 connection (RFC 9113 §8.2.2).
  package mutating func add(fieldsOf head: borrowing HeaderMap) {
    var index = 0
    while index < head.count {
      let entry = head.entry(index)
      if !entry.isRemoved, !entry.id.isPseudo, !Self.connectionFields.contains(entry.id) {
        add(head.name(index), head.value(index))
      }
      index &+= 1
    }
  }

  /// Fields that end at an HTTP/1 connection. `host` is `:authority` here.
  private static var connectionFields: HeaderIDSet {
    .connection | .keepAlive | .proxyConnection | .transferEncoding | .upgrade | .http2Settings
      | .host
  }
}
