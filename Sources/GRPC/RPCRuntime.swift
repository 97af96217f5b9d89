import Engine
import HTTPCodec

/// What all calls on one loop share: the memory that nghttp2 works in, and slots for sessions and
/// sockets, whose addresses the engine keeps. One for each loop that has channels or servers.
package final class RPCRuntime {
  struct SessionSlot: ~Copyable, Pooled {
    /// Must stay first: a handle to the slot is a handle to the session.
    var session = HTTP2Session()
    var generation: UInt32 = 0
    var nextFree: Ref<SessionSlot>?
  }

  struct SocketSlot: ~Copyable, Pooled {
    /// Must stay first: a handle to the slot is a handle to the socket.
    var socket = Connection()
    var generation: UInt32 = 0
    var nextFree: Ref<SocketSlot>?
  }

  package let loop: EventLoop
  let memory = Ref<HTTP2Memory>.immortal(HTTP2Memory())
  var sessions = Pool<SessionSlot>(pageCount: 8)
  var sockets = Pool<SocketSlot>(pageCount: 8)
  private var list = HTTP2FieldList()

  package init(loop: EventLoop) { self.loop = loop }

  /// Lends fields in the form in which a session takes them.
  func withList<Result>(
    _ fields: RPCFields, _ body: (borrowing HTTP2FieldList) -> Result
  ) -> Result {
    var text: [UInt8] = []
    for field in fields.list {
      text += field.name.utf8
      text += field.value.utf8
    }
    list.removeAll()
    return unsafe text.withUnsafeBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return body(list) }
      // SAFETY: all pieces lie in the buffer, which is lent for the call.
      var rest = unsafe Bytes(base: base, count: buffer.count)
      for field in fields.list {
        let name = rest.prefix(field.name.utf8.count)
        rest = rest.dropFirst(name.count)
        let value = rest.prefix(field.value.utf8.count)
        rest = rest.dropFirst(value.count)
        list.add(name, value)
      }
      return body(list)
    }
  }
}

extension Ref where Value == RPCRuntime.SessionSlot {
  /// SAFETY: `session` is the first stored property.
  var session: Ref<HTTP2Session> { unsafe Ref<HTTP2Session>(raw: raw) }
}

extension Ref where Value == RPCRuntime.SocketSlot {
  /// SAFETY: `socket` is the first stored property.
  var socket: Ref<Connection> { unsafe Ref<Connection>(raw: raw) }
}
