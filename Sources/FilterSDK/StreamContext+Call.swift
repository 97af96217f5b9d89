public import CFilterABI

/// How a filter's own request ended; valid for the length of `onCall`.
@safe @frozen
public struct CallResult: ~Copyable {
  @usableFromInline let raw: UnsafePointer<fl_call_result>

  @inlinable init(_ raw: UnsafePointer<fl_call_result>) { unsafe self.raw = raw }

  /// 0 when there was no response.
  @inlinable public var status: UInt32 { unsafe raw.pointee.status }
  /// Cut at the buffer limit.
  @inlinable public var body: ByteView { unsafe ByteView(raw.pointee.body) }

  /// The first field of this name.
  @inlinable public subscript(name: ByteView) -> ByteView? {
    for index in 0..<(unsafe raw.pointee.field_count) {
      let field = unsafe raw.pointee.fields[index]
      if unsafe ByteView(field.name) == name { return unsafe ByteView(field.value) }
    }
    return nil
  }
}

extension StreamContext {
  /// Starts a request of the filter's own; `onCall` hears the result. `fields` must hold
  /// `:method`, `:path` and `:authority`. nil: no such cluster.
  @inlinable public func call(
    cluster: ByteView, fields: [Field], body: ByteView = ByteView(),
    timeoutMilliseconds: UInt64 = 0
  ) -> Ticket? {
    // SAFETY: a Field is two views, laid out as fl_field is; the host copies before it returns.
    let ticket = unsafe fields.withUnsafeBytes { lent in
      var call = unsafe fl_call(
        cluster: cluster.raw, fields: lent.baseAddress?.assumingMemoryBound(to: fl_field.self),
        field_count: fields.count, body: body.raw, timeout_ms: timeoutMilliseconds)
      return unsafe Host.table.call_start.unsafelyUnwrapped(stream, &call)
    }
    return ticket == 0 ? nil : Ticket(ticket)
  }

  /// Forgets a call, and the ticket.
  @inlinable public func cancel(call: inout Ticket) {
    guard call != .none else { return }
    unsafe Host.table.call_cancel.unsafelyUnwrapped(stream, call.raw)
    call = .none
  }
}
