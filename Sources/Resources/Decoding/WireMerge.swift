/// Lays one message in protobuf's binary form over another of the same type, as protobuf merges messages:
/// single values are replaced, messages merged field by field, lists joined, entries of maps replaced.
///
/// What is in a oneof takes the place of whatever else was in it, also where the model has no name for it.
struct WireMerge {
  let catalog: SchemaCatalog
  /// Lists are replaced, and not joined.
  let replacesLists: Bool

  /// Both in one. What is no message is taken as if it were empty.
  func merge(_ base: ArraySlice<UInt8>, _ patch: ArraySlice<UInt8>, as type: Int) -> [UInt8] {
    let schema = catalog.messages[type]
    let mine = (try? WireReader.fields(base)) ?? []
    let theirs = (try? WireReader.fields(patch)) ?? []
    let given = Set(theirs.map(\.number))
    let oneofs = Set(
      schema.fields.filter { given.contains($0.number) }.compactMap(\.oneof))
    var out: [UInt8] = []
    var merged: Set<UInt32> = []
    for field in mine {
      let known = schema.fields.first { $0.number == field.number }
      if let oneof = known?.oneof, oneofs.contains(oneof), !given.contains(field.number) {
        continue
      }
      guard given.contains(field.number), let known else {
        WireWriter.write(field, to: &out)
        continue
      }
      switch (known.cardinality, known.type) {
      case (.single, .message(let inner)):
        guard merged.insert(field.number).inserted else { continue }
        let both = merge(
          Self.content(field.number, mine)[...], Self.content(field.number, theirs)[...], as: inner)
        WireWriter.write(
          WireField(number: field.number, content: .bytes(both[...])), to: &out)
      case (.single, .structure): WireWriter.write(field, to: &out)
      case (.single, _): continue
      case (.list, _): if !replacesLists { WireWriter.write(field, to: &out) }
      case (.map, _):
        if !Self.keys(field.number, theirs).contains(Self.key(field)) {
          WireWriter.write(field, to: &out)
        }
      }
    }
    for field in theirs where !merged.contains(field.number) { WireWriter.write(field, to: &out) }
    return out
  }

  /// All that stands for one field: parts of a message follow each other.
  private static func content(_ number: UInt32, _ fields: [WireField]) -> [UInt8] {
    fields.reduce(into: []) { bytes, field in
      if field.number == number, case .bytes(let part) = field.content { bytes += part }
    }
  }

  private static func keys(_ number: UInt32, _ fields: [WireField]) -> Set<[UInt8]> {
    Set(fields.filter { $0.number == number }.map(key))
  }

  /// The key of an entry of a map.
  private static func key(_ entry: WireField) -> [UInt8] {
    guard case .bytes(let bytes) = entry.content, let fields = try? WireReader.fields(bytes),
      case .bytes(let key)? = fields.last(where: { $0.number == 1 })?.content
    else { return [] }
    return Array(key)
  }
}

/// Writes fields in protobuf's binary form, as `WireReader` takes them apart.
enum WireWriter {
  static func write(_ field: WireField, to out: inout [UInt8]) {
    let tag = UInt64(field.number) << 3
    switch field.content {
    case .varint(let value):
      write(tag, to: &out)
      write(value, to: &out)
    case .fixed64(let value):
      write(tag | 1, to: &out)
      write(fixed: value, bytes: 8, to: &out)
    case .bytes(let bytes):
      write(tag | 2, to: &out)
      write(UInt64(bytes.count), to: &out)
      out += bytes
    case .fixed32(let value):
      write(tag | 5, to: &out)
      write(fixed: UInt64(value), bytes: 4, to: &out)
    }
  }

  private static func write(_ varint: UInt64, to out: inout [UInt8]) {
    var rest = varint
    while rest >= 0x80 {
      out.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    out.append(UInt8(truncatingIfNeeded: rest))
  }

  private static func write(fixed value: UInt64, bytes: Int, to out: inout [UInt8]) {
    for place in 0..<bytes { out.append(UInt8(truncatingIfNeeded: value >> (8 * UInt64(place)))) }
  }
}

extension MessageReader {
  /// One message laid over another of the same type.
  /// - Parameter message: the full name of both.
  package func merge(
    _ base: [UInt8], _ patch: [UInt8], as message: String, replacingLists: Bool = false
  ) -> [UInt8] {
    guard let type = catalog.index(ofMessage: message) else { return base + patch }
    return WireMerge(catalog: catalog, replacesLists: replacingLists)
      .merge(base[...], patch[...], as: type)
  }
}
