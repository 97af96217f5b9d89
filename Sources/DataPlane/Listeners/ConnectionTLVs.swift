import Engine
import Inspection
import Telemetry

/// What a proxy in front of us told of a connection besides its addresses, as far as the listener's
/// configuration wants to know. Lives as long as the connection, which most often has none.
@safe
final class ConnectionTLVs {
  /// A text under two names.
  private struct Note {
    let rule: Ref<ProxyTLVRule>
    let start: Int
    let count: Int
  }

  // SAFETY: holds `capacity` bytes, which are written by `init` alone and freed with the object.
  private let memory: UnsafeMutablePointer<UInt8>
  private var passedCount = 0
  /// The first for each pair of names, in the order of the keys.
  private var notes: [Note] = []

  /// nil when nothing of it is wanted.
  /// - Parameter tlvs: whole TLVs, of one header: never more than that holds.
  init?(_ tlvs: Bytes, passing types: ProxyTLVTypes, noting rules: Table<ProxyTLVRule>) {
    let isWanted = ProxyTLVs(tlvs).contains { tlv in
      types.contains(tlv.type) || Self.rule(for: tlv.type, among: rules) != nil
    }
    guard isWanted else { return nil }
    // Each TLV is passed at most once, and noted at most once: a type has one rule.
    let capacity = 2 * tlvs.count
    unsafe memory = .allocate(capacity: capacity)
    // SAFETY: the memory holds that much, and the writer refuses more.
    var out = unsafe ByteWriter(base: memory, capacity: capacity)
    for tlv in ProxyTLVs(tlvs) where types.contains(tlv.type) { out.append(tlv.whole) }
    passedCount = out.count
    for tlv in ProxyTLVs(tlvs) {
      if let rule = Self.rule(for: tlv.type, among: rules) { note(tlv.value, by: rule, &out) }
    }
    notes.sort { $0.rule.value.key.compare($1.rule.value.key) < 0 }
  }

  deinit { unsafe memory.deallocate() }

  private static func rule(
    for type: UInt8, among rules: Table<ProxyTLVRule>
  ) -> Ref<ProxyTLVRule>? {
    for index in 0..<rules.count where rules[index].type == type { return rules.handle(index) }
    return nil
  }

  /// The first text under two names stays, as in Envoy.
  private func note(_ value: Bytes, by rule: Ref<ProxyTLVRule>, _ out: inout ByteWriter) {
    let isTaken = notes.contains { $0.rule.value.hasNames(of: rule.value) }
    guard !isTaken else { return }
    let start = out.count
    Self.append(value, to: &out)
    notes.append(Note(rule: rule, start: start, count: out.count - start))
  }

  /// Text, with an exclamation mark for each byte that belongs to no character, as Envoy writes it.
  private static func append(_ value: Bytes, to out: inout ByteWriter) {
    var index = 0
    while index < value.count {
      let length = ByteSink.characterBytes(at: index, of: LogBytes(value))
      if length > 0 {
        out.append(value[index, index + length])
      } else {
        out.append(UInt8(ascii: "!"))
      }
      index += max(length, 1)
    }
  }

  /// TLVs that endpoints may be told, as they came.
  var passed: Bytes { unsafe Bytes(base: UnsafePointer(memory), count: passedCount) }

  /// The text under two names.
  func text(_ space: Bytes, _ key: Bytes) -> Bytes? {
    notes.first { $0.rule.value.space == space && $0.rule.value.key == key }.map(text)
  }

  /// What `%DYNAMIC_METADATA(space:key)%` shows, or for a space alone, all that is in it.
  func logValue(_ kind: LogMetadata, _ path: LogPath, _ scratch: inout ByteSink) -> LogValue {
    guard kind == .dynamic else { return .absent }
    var space = Bytes.empty
    var key = Bytes.empty
    var parts = 0
    path.visitParts { part in
      if parts == 0 { space = Bytes(part) } else if parts == 1 { key = Bytes(part) }
      parts += 1
    }
    switch parts {
    case 1: return object(space, &scratch)
    case 2: return text(space, key).map { .bytes(LogBytes($0)) } ?? .absent
    default: return .absent
    }
  }

  private func object(_ space: Bytes, _ scratch: inout ByteSink) -> LogValue {
    let mark = scratch.count
    for note in notes where note.rule.value.space == space {
      scratch.append(scratch.count == mark ? "{\"" : ",\"")
      scratch.appendEscaped(LogBytes(note.rule.value.key))
      scratch.append("\":\"")
      scratch.appendEscaped(LogBytes(text(of: note)))
      scratch.append("\"")
    }
    guard scratch.count > mark else { return .absent }
    scratch.append("}")
    return .json(scratch.bytes(since: mark))
  }

  private func text(of note: Note) -> Bytes {
    unsafe Bytes(base: UnsafePointer(memory) + note.start, count: note.count)
  }
}

/// Under which names what is told of one type is noted: `on_tlv_present`.
struct ProxyTLVRule: BitwiseCopyable {
  let type: UInt8
  let space: Bytes
  let key: Bytes

  func hasNames(of other: ProxyTLVRule) -> Bool { space == other.space && key == other.key }
}
