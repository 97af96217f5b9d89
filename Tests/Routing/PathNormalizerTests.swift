import Engine
import Testing

@testable import Routing

@Suite("Path normalization")
struct PathNormalizerTests {
  /// What Envoy 1.40 makes of a path with `normalize_path`, with `merge_slashes`, with both, with
  /// both and UNESCAPE_AND_FORWARD, and with `normalize_path` and UNESCAPE_AND_REDIRECT. nil is 400.
  struct Row: CustomTestStringConvertible, Sendable {
    let path: String
    let normalized: String?
    let merged: String?
    let both: String?
    let forwarded: String?
    let redirected: String?
    var testDescription: String { path }

    init(
      _ path: String, _ normalized: String?, merged: String?, both: String?, forwarded: String?,
      redirected: String?
    ) {
      self.path = path
      self.normalized = normalized
      self.merged = merged
      self.both = both
      self.forwarded = forwarded
      self.redirected = redirected
    }
  }

  static let rows = [
    Row("/a/../b", "/b", merged: "/a/../b", both: "/b", forwarded: "/b", redirected: "/b"),
    Row("/../b", "/b", merged: "/../b", both: "/b", forwarded: "/b", redirected: "/b"),
    Row("/..", "/", merged: "/..", both: "/", forwarded: "/", redirected: "/"),
    Row("/.", "/", merged: "/.", both: "/", forwarded: "/", redirected: "/"),
    Row("/a/.", "/a/", merged: "/a/.", both: "/a/", forwarded: "/a/", redirected: "/a/"),
    Row("/a/..", "/", merged: "/a/..", both: "/", forwarded: "/", redirected: "/"),
    Row("/a/./b", "/a/b", merged: "/a/./b", both: "/a/b", forwarded: "/a/b", redirected: "/a/b"),
    Row(
      "/a/b/../../c", "/c", merged: "/a/b/../../c", both: "/c", forwarded: "/c", redirected: "/c"),
    Row("/a//../b", "/a/b", merged: "/a/../b", both: "/a/b", forwarded: "/a/b", redirected: "/a/b"),
    Row("/%2e%2e/a", "/a", merged: "/%2e%2e/a", both: "/a", forwarded: "/a", redirected: "/a"),
    Row("/a/%2e%2E/b", "/b", merged: "/a/%2e%2E/b", both: "/b", forwarded: "/b", redirected: "/b"),
    Row("/a/.%2e/b", "/b", merged: "/a/.%2e/b", both: "/b", forwarded: "/b", redirected: "/b"),
    Row(
      "/a/..b", "/a/..b", merged: "/a/..b", both: "/a/..b", forwarded: "/a/..b",
      redirected: "/a/..b"),
    Row(
      "/a/...", "/a/...", merged: "/a/...", both: "/a/...", forwarded: "/a/...",
      redirected: "/a/..."),
    Row(
      "/a/b..", "/a/b..", merged: "/a/b..", both: "/a/b..", forwarded: "/a/b..",
      redirected: "/a/b.."),
    Row("/a/.b", "/a/.b", merged: "/a/.b", both: "/a/.b", forwarded: "/a/.b", redirected: "/a/.b"),
    Row("/%2", "/%2", merged: "/%2", both: "/%2", forwarded: "/%2", redirected: "/%2"),
    Row("/%", "/%", merged: "/%", both: "/%", forwarded: "/%", redirected: "/%"),
    Row("/%zz", "/%zz", merged: "/%zz", both: "/%zz", forwarded: "/%zz", redirected: "/%zz"),
    Row(
      "/%%32%65", "/%252e", merged: "/%%32%65", both: "/%252e", forwarded: "/%252e",
      redirected: "/%252e"),
    Row(
      "/%%32e/x", "/%252e/x", merged: "/%%32e/x", both: "/%252e/x", forwarded: "/%252e/x",
      redirected: "/%252e/x"),
    Row(
      "/a/%2%65", "/a/%252e", merged: "/a/%2%65", both: "/a/%252e", forwarded: "/a/%252e",
      redirected: "/a/%252e"),
    Row(
      "/a%2fb", "/a%2fb", merged: "/a%2fb", both: "/a%2fb", forwarded: "/a/b",
      redirected: "307 /a/b"),
    Row(
      "/a%2Fb/../c", "/c", merged: "/a%2Fb/../c", both: "/c", forwarded: "/a/c",
      redirected: "307 /a/c"),
    Row(
      "/a%5cb", "/a%5cb", merged: "/a%5cb", both: "/a%5cb", forwarded: "/a/b",
      redirected: "307 /a/b"),
    Row(
      "/a%5c..%5cb", "/a%5c..%5cb", merged: "/a%5c..%5cb", both: "/a%5c..%5cb", forwarded: "/b",
      redirected: "307 /b"),
    Row(#"/a\b"#, "/a/b", merged: #"/a\b"#, both: "/a/b", forwarded: "/a/b", redirected: "/a/b"),
    Row(#"/a\..\b"#, "/b", merged: #"/a\..\b"#, both: "/b", forwarded: "/b", redirected: "/b"),
    Row("//", "//", merged: "//", both: "//", forwarded: "//", redirected: "//"),
    Row("///", "///", merged: "//", both: "//", forwarded: "//", redirected: "///"),
    Row("//a", "//a", merged: "/a", both: "/a", forwarded: "/a", redirected: "//a"),
    Row("/a//b", "/a//b", merged: "/a/b", both: "/a/b", forwarded: "/a/b", redirected: "/a//b"),
    Row("/a//", "/a//", merged: "/a/", both: "/a/", forwarded: "/a/", redirected: "/a//"),
    Row(
      "/a//b//?x=//y", "/a//b//?x=//y", merged: "/a/b/?x=//y", both: "/a/b/?x=//y",
      forwarded: "/a/b/?x=//y", redirected: "/a//b//?x=//y"),
    Row(
      "/a?x=/../b", "/a?x=/../b", merged: "/a?x=/../b", both: "/a?x=/../b", forwarded: "/a?x=/../b",
      redirected: "/a?x=/../b"),
    Row("/a/..?x", "/?x", merged: "/a/..?x", both: "/?x", forwarded: "/?x", redirected: "/?x"),
    Row("/?", "/?", merged: "/?", both: "/?", forwarded: "/?", redirected: "/?"),
    Row(
      "/a/%2e?b", "/a/?b", merged: "/a/%2e?b", both: "/a/?b", forwarded: "/a/?b",
      redirected: "/a/?b"),
    Row("/..//a", "//a", merged: "/../a", both: "/a", forwarded: "/a", redirected: "//a"),
    Row("/a/..//b", "//b", merged: "/a/../b", both: "/b", forwarded: "/b", redirected: "//b"),
    Row(
      "/a/b/..//..//c", "/a//c", merged: "/a/b/../../c", both: "/a/c", forwarded: "/a/c",
      redirected: "/a//c"),
    Row(
      "/%c3%a9", "/%c3%a9", merged: "/%c3%a9", both: "/%c3%a9", forwarded: "/%c3%a9",
      redirected: "/%c3%a9"),
    Row(
      "/%C3%a9", "/%C3%a9", merged: "/%C3%a9", both: "/%C3%a9", forwarded: "/%C3%a9",
      redirected: "/%C3%a9"),
    Row("/%ff", "/%ff", merged: "/%ff", both: "/%ff", forwarded: "/%ff", redirected: "/%ff"),
    Row("/a;b/../c", "/c", merged: "/a;b/../c", both: "/c", forwarded: "/c", redirected: "/c"),
    Row(
      "/a/%2e%2e%2fb", "/a/..%2fb", merged: "/a/%2e%2e%2fb", both: "/a/..%2fb", forwarded: "/b",
      redirected: "307 /b"),
    Row(
      "/a/%252e%252e/b", "/a/%252e%252e/b", merged: "/a/%252e%252e/b", both: "/a/%252e%252e/b",
      forwarded: "/a/%252e%252e/b", redirected: "/a/%252e%252e/b"),
    Row(
      "/a%2f%2e%2e%2fb", "/a%2f..%2fb", merged: "/a%2f%2e%2e%2fb", both: "/a%2f..%2fb",
      forwarded: "/b", redirected: "307 /b"),
    Row(
      "/a%2f../b", "/a%2f../b", merged: "/a%2f../b", both: "/a%2f../b", forwarded: "/b",
      redirected: "307 /b"),
    Row(
      "/a%2f%2fb", "/a%2f%2fb", merged: "/a%2f%2fb", both: "/a%2f%2fb", forwarded: "/a/b",
      redirected: "307 /a//b"),
    Row(
      "/a/..%2fb", "/a/..%2fb", merged: "/a/..%2fb", both: "/a/..%2fb", forwarded: "/b",
      redirected: "307 /b"),
    Row(
      "/a?x=%2f", "/a?x=%2f", merged: "/a?x=%2f", both: "/a?x=%2f", forwarded: "/a?x=%2f",
      redirected: "/a?x=%2f"),
    Row(
      "/a%2f?x=%2f", "/a%2f?x=%2f", merged: "/a%2f?x=%2f", both: "/a%2f?x=%2f",
      forwarded: "/a/?x=%2f", redirected: "307 /a/?x=%2f"),
    Row("/a/../../..", "/", merged: "/a/../../..", both: "/", forwarded: "/", redirected: "/"),
    Row(
      "/a/b/.//c", "/a/b//c", merged: "/a/b/./c", both: "/a/b/c", forwarded: "/a/b/c",
      redirected: "/a/b//c"),
    Row("/./", "/", merged: "/./", both: "/", forwarded: "/", redirected: "/"),
    Row("/.//", "//", merged: "/./", both: "//", forwarded: "//", redirected: "//"),
    Row("/a/%2e/", "/a/", merged: "/a/%2e/", both: "/a/", forwarded: "/a/", redirected: "/a/"),
    Row("/%2e", "/", merged: "/%2e", both: "/", forwarded: "/", redirected: "/"),
    Row("/.%2e/", "/", merged: "/.%2e/", both: "/", forwarded: "/", redirected: "/"),
    Row("/a%00b", nil, merged: "/a%00b", both: nil, forwarded: nil, redirected: nil),
    Row("/a%0", "/a%0", merged: "/a%0", both: "/a%0", forwarded: "/a%0", redirected: "/a%0"),
    Row("//..", "/", merged: "/..", both: "/", forwarded: "/", redirected: "/"),
    Row("//../", "/", merged: "/../", both: "/", forwarded: "/", redirected: "/"),
    Row("//./", "//", merged: "/./", both: "//", forwarded: "//", redirected: "//"),
    Row(
      "/a/%5c..%5c", "/a/%5c..%5c", merged: "/a/%5c..%5c", both: "/a/%5c..%5c", forwarded: "/a/",
      redirected: "307 /a/"),
  ]

  @Test("a path becomes what Envoy makes of it", arguments: rows)
  func golden(_ row: Row) {
    #expect(result(row.path, normalizes: true) == row.normalized)
    #expect(result(row.path, merges: true) == row.merged)
    #expect(result(row.path, normalizes: true, merges: true) == row.both)
    #expect(
      result(row.path, normalizes: true, merges: true, slashes: .unescape) == row.forwarded)
    #expect(result(row.path, normalizes: true, slashes: .redirect) == row.redirected)
  }

  @Test("an escaped slash in the path, and only there, is rejected where it must be")
  func rejects() {
    #expect(result("/a%2fb", slashes: .reject) == nil)
    #expect(result("/a%5Cb", slashes: .reject) == nil)
    #expect(result("/a?b=%2f", slashes: .reject) == "/a?b=%2f")
    #expect(result("/a%2eb", slashes: .reject) == "/a%2eb")
  }

  @Test("characters are kept, escaped or refused one by one as in Envoy")
  func characters() {
    let kept = "!$%&'()*+,-./0123456789:;=?@ABCXYZ[]_abcxyz~"
    for character in kept {
      #expect(result("/x\(character)y", normalizes: true) == "/x\(character)y")
    }
    let escaped = ["\"": "%22", "<": "%3C", ">": "%3E", "^": "%5E", "`": "%60", "{": "%7B"]
    for (character, escape) in escaped {
      #expect(result("/x\(character)y", normalizes: true) == "/x\(escape)y")
    }
    #expect(result("/x|y", normalizes: true) == "/x%7Cy")
    #expect(result("/x}y", normalizes: true) == "/x%7Dy")
    for refused in ["\u{1}", "\t", " ", "#", "\u{7F}", "é"] {
      #expect(result("/x\(refused)y", normalizes: true) == nil)
    }
  }

  @Test("escapes of unreserved characters are decoded, all others stay as they are")
  func escapes() {
    let unreserved = Set("ABCXYZabcxyz0123456789-._~".utf8)
    for byte in UInt8(1)...255 where unreserved.contains(byte) || !isAlphanumeric(byte) {
      let hex = String(byte, radix: 16)
      let escape = "%" + (hex.count == 1 ? "0" + hex : hex)
      let expected =
        unreserved.contains(byte)
        ? "/x" + String(decoding: [byte], as: UTF8.self) + "y" : "/x\(escape)y"
      #expect(result("/x\(escape)y", normalizes: true) == expected)
    }
  }

  @Test("paths without segments are left alone")
  func otherForms() {
    #expect(result("*", normalizes: true, merges: true, slashes: .unescape) == "*")
    #expect(result("h:443", normalizes: true) == "h:443")
    #expect(result("", normalizes: true) == "")
  }

  private func isAlphanumeric(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || (byte | 32) &- 97 < 26
  }

  /// The path to use, `307 path`, or nil for a refusal.
  private func result(
    _ path: String, normalizes: Bool = false, merges: Bool = false,
    slashes: PathNormalizer.EscapedSlashes = .keep
  ) -> String? {
    let normalizer = PathNormalizer(
      normalizes: normalizes, mergesSlashes: merges, escapedSlashes: slashes)
    var memory = [UInt8](repeating: 0, count: path.utf8.count * 3 + 1)
    return unsafe memory.withUnsafeMutableBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return nil }
      var writer = unsafe ByteWriter(base: base, capacity: buffer.count)
      switch normalizer.apply(to: .immortal(path), writingTo: &writer) {
      case .unchanged: return path
      case .changed: return writer.written.string
      case .redirect: return "307 " + writer.written.string
      case .rejected: return nil
      }
    }
  }
}
