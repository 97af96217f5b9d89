public import CFilterABI

/// The fields of a head or of trailers, as one callback may read and change them. It cannot be
/// copied, so that it cannot outlive the callback that was lent it.
///
/// SAFETY: the host lends the stream for the callback's length and runs it on one thread; every
/// function that it is given copies what it keeps.
@safe
public protocol FieldsView: ~Copyable {
  /// The stream, as C sees it.
  var stream: OpaquePointer { get }
  /// Which fields of it are meant.
  var part: fl_part { get }
}

extension FieldsView where Self: ~Copyable {
  /// The value of a field; several of one name are joined as the host joins them. Pseudo fields
  /// are `:method`, `:path`, `:authority`, `:scheme` and `:status`. Setting nil removes the field.
  @inlinable public subscript(name: ByteView) -> ByteView? {
    get {
      var value = unsafe fl_bytes()
      guard
        unsafe Host.table.field_get.unsafelyUnwrapped(stream, part, name.raw, &value)
      else { return nil }
      return unsafe ByteView(value)
    }
    nonmutating set {
      if let newValue {
        unsafe Host.table.field_set.unsafelyUnwrapped(stream, part, name.raw, newValue.raw)
      } else {
        unsafe Host.table.field_remove.unsafelyUnwrapped(stream, part, name.raw)
      }
    }
  }

  /// Adds a field beside those of the same name.
  @inlinable public func add(_ name: ByteView, _ value: ByteView) {
    unsafe Host.table.field_add.unsafelyUnwrapped(stream, part, name.raw, value.raw)
  }

  /// Removes all fields of this name.
  @inlinable public func remove(_ name: ByteView) {
    unsafe Host.table.field_remove.unsafelyUnwrapped(stream, part, name.raw)
  }

  /// Sets a field to a number's decimal digits.
  @inlinable public func set(_ name: ByteView, number: UInt64) {
    ByteView.withDecimal(number) { self[name] = $0 }
  }

  /// Takes the value of a field out as a number: the field is removed whatever it holds, nil is
  /// returned when it was absent or no number.
  @inlinable public func takeDecimal(_ name: ByteView) -> UInt64? {
    guard let value = self[name] else { return nil }
    let number = value.decimal
    remove(name)
    return number
  }

  /// Calls `body` with every field in order. `body` returns whether to go on; it must not change
  /// the fields.
  @inlinable public func forEachField(_ body: (Field) -> Bool) {
    var position = 0
    var field = unsafe fl_field()
    while unsafe Host.table.field_at.unsafelyUnwrapped(stream, part, &position, &field) {
      let lent = unsafe Field(ByteView(field.name), ByteView(field.value))
      guard body(lent) else { return }
      position += 1
    }
  }

  @inlinable var hasGRPCContentType: Bool {
    guard let type = self["content-type"], type.hasPrefix("application/grpc") else { return false }
    return type.count == 16 || type[16] == UInt8(ascii: "+") || type[16] == UInt8(ascii: ";")
  }

  /// Whether all the configuration's matchers hold.
  @inlinable public func matches(_ matchers: HeaderMatchers) -> Bool {
    unsafe Host.table.headers_match.unsafelyUnwrapped(stream, part, matchers.raw)
  }

  /// Whether a field with one of these names may be there; false is certain. Fields that are seldom
  /// there are asked for all at once, and only then one by one.
  @inlinable public func mayHave(anyOf names: FieldNames?) -> Bool {
    guard let names else { return true }
    return unsafe Host.table.fields_any.unsafelyUnwrapped(stream, part, names.raw)
  }

  /// Makes the configuration's edits.
  @inlinable public func apply(_ mutations: HeaderMutations) {
    unsafe Host.table.headers_mutate.unsafelyUnwrapped(stream, part, mutations.raw)
  }
}

/// A request's head.
@safe @frozen
public struct RequestHeadView: ~Copyable, FieldsView {
  public let stream: OpaquePointer
  /// Nothing follows: neither body nor trailers.
  public let endsStream: Bool
  @inlinable public var part: fl_part { FL_REQUEST_HEAD }

  @inlinable init(_ stream: OpaquePointer, endsStream: Bool) {
    unsafe self.stream = stream
    self.endsStream = endsStream
  }

  /// Whether the request is gRPC, by its content type.
  @inlinable public var isGRPC: Bool { hasGRPCContentType }
}

/// A response's head.
@safe @frozen
public struct ResponseHeadView: ~Copyable, FieldsView {
  public let stream: OpaquePointer
  /// Nothing follows: neither body nor trailers.
  public let endsStream: Bool
  @inlinable public var part: fl_part { FL_RESPONSE_HEAD }

  @inlinable init(_ stream: OpaquePointer, endsStream: Bool) {
    unsafe self.stream = stream
    self.endsStream = endsStream
  }

  /// The status; 0 when there is none, which the host never lends.
  @inlinable public var status: Int {
    guard let status = self[":status"]?.decimal else { return 0 }
    return Int(truncatingIfNeeded: min(status, 999))
  }

  /// Whether the response is gRPC: one without a body by its status field, others by the content type
  /// of a 200.
  @inlinable public var isGRPC: Bool {
    endsStream ? self["grpc-status"] != nil : status == 200 && hasGRPCContentType
  }
}

/// Trailers of either direction.
@safe @frozen
public struct TrailersView: ~Copyable, FieldsView {
  public let stream: OpaquePointer
  public let part: fl_part

  @inlinable init(_ stream: OpaquePointer, _ part: fl_part) {
    unsafe self.stream = stream
    self.part = part
  }

  /// Puts bytes behind the body, before the trailers; they end the message when no trailer is left.
  @inlinable public func appendToBody(_ bytes: ByteView) {
    unsafe Host.table.body_append.unsafelyUnwrapped(stream, bytes.raw)
  }
}

/// A piece of a body; after `Verdict.buffer`, all of it.
@safe @frozen
public struct BodyView: ~Copyable {
  @usableFromInline let stream: OpaquePointer
  public let bytes: ByteView
  /// Nothing follows: neither more body nor trailers.
  public let endsStream: Bool

  @inlinable init(_ stream: OpaquePointer, _ bytes: fl_bytes, endsStream: Bool) {
    unsafe self.stream = stream
    unsafe self.bytes = ByteView(bytes)
    self.endsStream = endsStream
  }

  @inlinable public var count: Int { bytes.count }

  /// Puts these bytes in this piece's place.
  @inlinable public func replace(with bytes: ByteView) {
    unsafe Host.table.body_replace.unsafelyUnwrapped(stream, bytes.raw)
  }
}
