/// Writes a tree, or a part of it, as protobuf's binary form. Nodes that were refused are left out,
/// so that later passes can look for more mistakes in what remains.
struct MessageWriter {
  let tree: ConfigTree

  /// The message at a node, without length or tag.
  func message(_ id: Int) -> [UInt8] {
    var out: [UInt8] = []
    let node = tree.nodes[id]
    let fields = tree.catalog.messages[node.type].fields
    for child in node.children {
      let field = fields[tree.nodes[child].field]
      switch (field.cardinality, tree.nodes[child].kind) {
      case (_, .invalid): break
      case (.single, _): write(child, as: field.type, number: field.number, to: &out)
      case (.list, _):
        for item in tree.nodes[child].children {
          write(item, as: field.type, number: field.number, to: &out)
        }
      case (.map, _):
        for entry in tree.nodes[child].children {
          writeEntry(entry, as: field.type, number: field.number, to: &out)
        }
      }
    }
    return out
  }

  private func writeEntry(_ id: Int, as type: ValueType, number: UInt32, to out: inout [UInt8]) {
    guard tree.nodes[id].kind != .invalid else { return }
    var entry: [UInt8] = []
    write(string: tree.nodes[id].key, number: 1, to: &entry)
    write(id, as: type, number: 2, to: &entry)
    write(bytes: entry, number: number, to: &out)
  }

  private func write(_ id: Int, as type: ValueType, number: UInt32, to out: inout [UInt8]) {
    let node = tree.nodes[id]
    guard node.kind != .invalid else { return }
    switch type {
    case .scalar(let scalar): write(node, as: scalar, number: number, to: &out)
    case .wrapper(let scalar):
      var inner: [UInt8] = []
      write(node, as: scalar, number: 1, to: &inner)
      write(bytes: inner, number: number, to: &out)
    case .enumeration:
      write(tag: number, wire: 0, to: &out)
      write(varint: node.bits, to: &out)
    case .duration:
      var inner: [UInt8] = []
      write(tag: 1, wire: 0, to: &inner)
      write(varint: node.bits, to: &inner)
      write(tag: 2, wire: 0, to: &inner)
      write(varint: UInt64(bitPattern: Int64(node.nanoseconds)), to: &inner)
      write(bytes: inner, number: number, to: &out)
    case .structure: write(bytes: structure(id), number: number, to: &out)
    case .value: write(bytes: value(id), number: number, to: &out)
    case .message: write(bytes: message(id), number: number, to: &out)
    case .any:
      var inner: [UInt8] = []
      let name = tree.catalog.messages[node.type].name
      write(string: "type.googleapis.com/" + name, number: 1, to: &inner)
      write(bytes: message(id), number: 2, to: &inner)
      write(bytes: inner, number: number, to: &out)
    }
  }

  private func write(
    _ node: ConfigTree.Node, as scalar: ScalarType, number: UInt32, to out: inout [UInt8]
  ) {
    switch scalar {
    case .double:
      write(tag: number, wire: 1, to: &out)
      write(fixed: node.bits, bytes: 8, to: &out)
    case .float:
      write(tag: number, wire: 5, to: &out)
      write(
        fixed: UInt64(Float(Double(bitPattern: node.bits)).bitPattern), bytes: 4, to: &out)
    case .int32, .int64, .uint32, .uint64, .bool:
      write(tag: number, wire: 0, to: &out)
      write(varint: node.bits, to: &out)
    case .string: write(string: node.text, number: number, to: &out)
    case .bytes: write(bytes: node.bytes, number: number, to: &out)
    }
  }

  // MARK: Free-form values

  private func structure(_ id: Int) -> [UInt8] {
    var out: [UInt8] = []
    for entry in tree.nodes[id].children {
      var inner: [UInt8] = []
      write(string: tree.nodes[entry].key, number: 1, to: &inner)
      write(bytes: value(entry), number: 2, to: &inner)
      write(bytes: inner, number: 1, to: &out)
    }
    return out
  }

  /// `google.protobuf.Value`: null 1, number 2, string 3, bool 4, struct 5, list 6.
  private func value(_ id: Int) -> [UInt8] {
    let node = tree.nodes[id]
    var out: [UInt8] = []
    switch node.kind {
    case .number:
      write(tag: 2, wire: 1, to: &out)
      write(fixed: node.bits, bytes: 8, to: &out)
    case .string: write(string: node.text, number: 3, to: &out)
    case .bool:
      write(tag: 4, wire: 0, to: &out)
      write(varint: node.bits, to: &out)
    case .map: write(bytes: structure(id), number: 5, to: &out)
    case .list:
      var items: [UInt8] = []
      for item in node.children { write(bytes: value(item), number: 1, to: &items) }
      write(bytes: items, number: 6, to: &out)
    default:
      write(tag: 1, wire: 0, to: &out)
      write(varint: 0, to: &out)
    }
    return out
  }

  // MARK: The wire

  private func write(tag number: UInt32, wire: UInt64, to out: inout [UInt8]) {
    write(varint: UInt64(number) << 3 | wire, to: &out)
  }

  private func write(varint value: UInt64, to out: inout [UInt8]) {
    var rest = value
    while rest >= 0x80 {
      out.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    out.append(UInt8(truncatingIfNeeded: rest))
  }

  private func write(fixed value: UInt64, bytes: UInt64, to out: inout [UInt8]) {
    for byte in 0..<bytes { out.append(UInt8(truncatingIfNeeded: value >> (byte * 8))) }
  }

  private func write(bytes: [UInt8], number: UInt32, to out: inout [UInt8]) {
    write(tag: number, wire: 2, to: &out)
    write(varint: UInt64(bytes.count), to: &out)
    out += bytes
  }

  private func write(string: String, number: UInt32, to out: inout [UInt8]) {
    write(tag: number, wire: 2, to: &out)
    write(varint: UInt64(string.utf8.count), to: &out)
    out += string.utf8
  }
}
