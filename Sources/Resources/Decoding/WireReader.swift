/// Why bytes are no message in protobuf's binary form.
struct WireError: Error, Equatable {
  let message: String
}

/// One field as it stands in protobuf's binary form.
struct WireField {
  enum Content {
    case varint(UInt64)
    case fixed64(UInt64)
    case fixed32(UInt32)
    case bytes(ArraySlice<UInt8>)
  }

  let number: UInt32
  let content: Content
}

/// Takes a message in protobuf's binary form apart, field by field. Foreign bytes: every length is
/// checked.
struct WireReader {
  private var rest: ArraySlice<UInt8>

  init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

  /// All fields of a message.
  static func fields(_ bytes: ArraySlice<UInt8>) throws(WireError) -> [WireField] {
    var reader = WireReader(bytes)
    var fields: [WireField] = []
    while let field = try reader.next() { fields.append(field) }
    return fields
  }

  /// The next field; nil at the end.
  mutating func next() throws(WireError) -> WireField? {
    guard !rest.isEmpty else { return nil }
    let tag = try varint()
    guard let number = UInt32(exactly: tag >> 3), number > 0, number < 1 << 29 else {
      throw WireError(message: "no field has the number \(tag >> 3)")
    }
    switch tag & 7 {
    case 0: return WireField(number: number, content: .varint(try varint()))
    case 1: return WireField(number: number, content: .fixed64(try fixed(8)))
    case 2:
      let length = try varint()
      guard length <= rest.count else {
        throw WireError(message: "a field is longer than the rest")
      }
      let bytes = rest.prefix(Int(length))
      rest = rest.dropFirst(Int(length))
      return WireField(number: number, content: .bytes(bytes))
    case 5:
      let bits = UInt32(truncatingIfNeeded: try fixed(4))
      return WireField(number: number, content: .fixed32(bits))
    default: throw WireError(message: "no field has the wire type \(tag & 7)")
    }
  }

  /// The numbers of a packed list.
  static func varints(_ bytes: ArraySlice<UInt8>) throws(WireError) -> [UInt64] {
    var reader = WireReader(bytes)
    var numbers: [UInt64] = []
    while !reader.rest.isEmpty { numbers.append(try reader.varint()) }
    return numbers
  }

  private mutating func varint() throws(WireError) -> UInt64 {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    while let byte = rest.popFirst() {
      guard shift < 63 || byte <= 1 else { throw WireError(message: "a number is too long") }
      value |= UInt64(byte & 0x7F) << shift
      if byte & 0x80 == 0 { return value }
      shift += 7
    }
    throw WireError(message: "the bytes end within a number")
  }

  private mutating func fixed(_ count: Int) throws(WireError) -> UInt64 {
    guard rest.count >= count else { throw WireError(message: "the bytes end within a number") }
    let value = rest.prefix(count).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    rest = rest.dropFirst(count)
    return value
  }
}
