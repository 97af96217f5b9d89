import Engine

/// One thing that a PROXY header of version 2 tells besides addresses: type, length, value (§2.2).
package struct ProxyTLV: BitwiseCopyable {
  package let type: UInt8
  /// Views into what was read, as all of it.
  package let value: Bytes
  /// As it is on the wire.
  package let whole: Bytes

  /// Type and length.
  package static let prefixBytes = 3
}

/// TLVs that stand one behind the other; there are no more where one is not whole.
package struct ProxyTLVs: Sequence, IteratorProtocol, BitwiseCopyable {
  private var rest: Bytes

  package init(_ bytes: Bytes) { rest = bytes }

  package mutating func next() -> ProxyTLV? {
    guard rest.count >= ProxyTLV.prefixBytes else { return nil }
    let length = ProxyTLV.prefixBytes + (Int(rest[1]) << 8 | Int(rest[2]))
    guard length <= rest.count else { return nil }
    let whole = rest.prefix(length)
    rest = rest.dropFirst(length)
    return ProxyTLV(type: whole[0], value: whole.dropFirst(ProxyTLV.prefixBytes), whole: whole)
  }

  /// Nothing is cut off (§2.2.7).
  var areWhole: Bool {
    var copy = self
    while copy.next() != nil {}
    return copy.rest.isEmpty
  }
}

/// Some of the 256 types.
package struct ProxyTLVTypes: BitwiseCopyable {
  private var isMember = InlineArray<256, Bool>(repeating: false)
  package private(set) var isEmpty = true

  package init() {}

  package static var all: ProxyTLVTypes {
    var types = ProxyTLVTypes()
    for type in UInt8.min...UInt8.max { types.insert(type) }
    return types
  }

  package mutating func insert(_ type: UInt8) {
    isMember[Int(type)] = true
    isEmpty = false
  }

  package func contains(_ type: UInt8) -> Bool { isMember[Int(type)] }
}
