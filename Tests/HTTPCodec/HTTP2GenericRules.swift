@testable import HTTPCodec

private typealias F = Frame

private func priority(_ stream: UInt32, on other: UInt32, weight: UInt8) -> [UInt8] {
  F.raw(2, stream: stream, F.number(other) + [weight])
}

/// A GET whose fields are all in HPACK's static table, but for the authority.
private let bare: [UInt8] = [0x82, 0x86, 0x84]
/// The same with an authority.
private let get: [UInt8] = bare + [0x01] + text("host")

private func request(_ block: [UInt8]...) -> [UInt8] {
  F.raw(1, flags: F.whole, stream: 1, block.flatMap { $0 })
}

private func text(_ text: String) -> [UInt8] { [UInt8(text.utf8.count)] + Array(text.utf8) }

/// "www.example.com" in Huffman's code (RFC 7541 §C.4.1).
private let huffman: [UInt8] = [
  0x8C, 0xF1, 0xE3, 0xC2, 0xE5, 0xF2, 0x3A, 0x6B, 0xA0, 0xAB, 0x90, 0xF4, 0xFF,
]
/// "custom-key" and "custom-value" (RFC 7541 §C.4.3).
private let customKey: [UInt8] = [0x88, 0x25, 0xA8, 0x49, 0xE9, 0x5B, 0xA9, 0x7D, 0x7F]
private let customValue: [UInt8] = [0x89, 0x25, 0xA8, 0x49, 0xE9, 0x5B, 0xB8, 0xE8, 0xB4, 0xBF]

/// What every server has to take: the group that h2spec calls generic. Nothing here is a mistake.
let genericRules: [Rule] = [
  Rule("5.1", "PRIORITY before its stream", .answer, priority(1, on: 0, weight: 255), F.headers(1)),
  Rule("5.1", "PRIORITY on a closed stream", .answer, F.headers(1), priority(1, on: 0, weight: 1)),
  Rule("5.1", "WINDOW_UPDATE behind the request", .answer, F.headers(1), F.windowUpdate(1, 100)),
  Rule(
    "6.1", "DATA in several frames", .answer, F.headers(1, F.post, flags: F.endHeaders),
    F.data(1, "a"), F.data(1, "b"), F.data(1, "", flags: F.endStream)),
  Rule(
    "6.1", "DATA with padding", .answer, F.headers(1, F.post, flags: F.endHeaders),
    F.raw(0, flags: F.endStream | F.padded, stream: 1, [3] + Array("test".utf8) + [0, 0, 0])),
  Rule(
    "6.1", "DATA of padding alone", .answer, F.headers(1, F.post, flags: F.endHeaders),
    F.raw(0, flags: F.padded, stream: 1, [3, 0, 0, 0]), F.data(1, "", flags: F.endStream)),
  Rule(
    "6.2", "HEADERS with padding", .answer,
    F.raw(1, flags: F.whole | F.padded, stream: 1, [2] + F.block(F.get) + [0, 0])),
  Rule(
    "6.2", "HEADERS with a priority", .answer,
    F.raw(1, flags: F.whole | 0x20, stream: 1, [0, 0, 0, 3, 255] + F.block(F.get))),
  Rule(
    "6.2", "HEADERS with padding and a priority", .answer,
    F.raw(
      1, flags: F.whole | F.padded | 0x20, stream: 1,
      [2, 0x80, 0, 0, 0, 15] + F.block(F.get) + [0, 0])),
  Rule("6.3", "PRIORITY of the least weight", .answer, priority(1, on: 0, weight: 0), F.headers(1)),
  Rule("6.3", "PRIORITY on another stream", .answer, priority(1, on: 3, weight: 9), F.headers(1)),
  Rule(
    "6.3", "PRIORITY that excludes others", .answer,
    priority(1, on: 0x8000_0000, weight: 9), F.headers(1)),
  Rule(
    "6.3", "PRIORITY of a later stream opens none", .answer,
    priority(7, on: 0, weight: 9), F.headers(1)),
  Rule("6.4", "RST_STREAM", .pong, F.headers(1, F.post, flags: F.endHeaders), F.reset(1), F.ping),
  Rule(
    "6.5", "SETTINGS of every kind", .pong,
    F.settings((1, 4096), (2, 0), (3, 100), (4, 70_000), (5, 20_000), (6, 16_000)), F.ping),
  Rule("6.5", "SETTINGS, acknowledged", .pong, F.raw(4, flags: 1), F.ping),
  Rule(
    "6.5.3", "a setting twice in one frame: the last counts", .answer,
    F.settings((4, 1), (4, 70_000)), F.headers(1)),
  Rule("6.7", "PING, acknowledged", .pong, F.raw(6, flags: 1, [0, 0, 0, 0, 0, 0, 0, 0]), F.ping),
  Rule("6.9", "WINDOW_UPDATE of the connection", .answer, F.windowUpdate(0, 1), F.headers(1)),
  Rule(
    "6.9", "WINDOW_UPDATE of a stream", .answer, F.headers(1, F.post, flags: F.endHeaders),
    F.windowUpdate(1, 1), F.data(1, "x", flags: F.endStream)),
  Rule(
    "6.10", "CONTINUATION", .answer, F.headers(1, flags: F.endStream),
    F.raw(9, flags: F.endHeaders, stream: 1, F.block([("a", "b")]))),
  Rule(
    "6.10", "an empty CONTINUATION", .answer, F.headers(1, flags: F.endStream),
    F.raw(9, flags: F.endHeaders, stream: 1)),
  Rule(
    "8.1", "trailers", .answer, F.headers(1, F.post, flags: F.endHeaders), F.data(1, "x"),
    F.headers(1, [("x-sum", "1")])),
  Rule(
    "8.3.1", "an OPTIONS of everything", .answer,
    F.headers(
      1,
      [
        (":method", "OPTIONS"), (":scheme", "http"), (":path", "*"),
        (":authority", "host"),
      ])),
  Rule("7541 §5.2", "a value in Huffman's code", .answer, request(bare, [0x01], huffman)),
  Rule("7541 §6.1", "indexed fields", .answer, request(get)),
  Rule(
    "7541 §6.1", "a field of the dynamic table", .answer,
    request(bare, [0x41], text("host"), [0x40], text("x-a"), text("b"), [0xBE])),
  Rule(
    "7541 §6.2.1", "indexing, the name indexed", .answer, request(bare, [0x41], text("host"))),
  Rule(
    "7541 §6.2.1", "indexing, the name indexed, in Huffman's code", .answer,
    request(bare, [0x41], huffman)),
  Rule(
    "7541 §6.2.1", "indexing, a new name", .answer,
    request(get, [0x40], text("x-a"), text("b"))),
  Rule(
    "7541 §6.2.1", "indexing, a new name, in Huffman's code", .answer,
    request(get, [0x40], customKey, customValue)),
  Rule(
    "7541 §6.2.2", "no indexing, the name indexed", .answer,
    request(bare, [0x01], text("host"))),
  Rule(
    "7541 §6.2.2", "no indexing, a new name", .answer,
    request(get, [0x00], text("x-a"), text("b"))),
  Rule(
    "7541 §6.2.2", "no indexing, a new name, in Huffman's code", .answer,
    request(get, [0x00], customKey, customValue)),
  Rule(
    "7541 §6.2.3", "never indexed, the name indexed", .answer,
    request(bare, [0x11], text("host"))),
  Rule(
    "7541 §6.2.3", "never indexed, the name indexed, in Huffman's code", .answer,
    request(bare, [0x11], huffman)),
  Rule(
    "7541 §6.2.3", "never indexed, a new name", .answer,
    request(get, [0x10], text("x-a"), text("b"))),
  Rule(
    "7541 §6.2.3", "never indexed, a new name, in Huffman's code", .answer,
    request(get, [0x10], customKey, customValue)),
  Rule("7541 §6.3", "a smaller table", .answer, request([0x3F, 0x21], get)),
  Rule(
    "7541 §6.3", "a table emptied and restored", .answer,
    request([0x20, 0x3F, 0xE1, 0x1F], get)),
]
