import Glibc
import TLS
import Testing

@testable import MeshIdentity

@Suite("Join tokens")
struct JoinTokenTests {
  let scratch: Scratch
  let tokens: JoinTokens
  let now = 1_000_000

  init() throws {
    scratch = try Scratch()
    tokens = JoinTokens(in: scratch.path + "/tokens")
  }

  func make(reusable: Bool = false) throws -> String {
    try tokens.make(for: makeIdentity("shop", "cart"), lasting: 60, isReusable: reusable, at: now)
  }

  @Test("stand for an identity until they expire")
  func lookedUp() throws {
    let token = try make()
    let found = try tokens.look(up: token, at: now + 59)
    #expect(found.entry.identity.uri == "spiffe://cluster.local/ns/shop/sa/cart")
    #expect(throws: JoinTokens.Doubt.expired) { try tokens.look(up: token, at: now + 60) }
    // Nothing is left of it.
    #expect(throws: JoinTokens.Doubt.unknown) { try tokens.look(up: token, at: now) }
  }

  @Test("are spent once")
  func spent() throws {
    let token = try make()
    let (id, _) = try tokens.look(up: token, at: now)
    #expect(tokens.spend(id))
    #expect(!tokens.spend(id))
    #expect(throws: JoinTokens.Doubt.unknown) { try tokens.look(up: token, at: now) }
  }

  @Test("leave no secret on the disk, and nothing for others to read")
  func stored() throws {
    let token = try make()
    let parts = token.split(separator: ".").map(String.init)
    let stored = String(decoding: scratch.read("tokens/\(parts[1])"), as: UTF8.self)
    #expect(!stored.contains(parts[2]))
    #expect(stored.hasPrefix("spiffe://cluster.local/ns/shop/sa/cart 1000060 once "))
    #expect(scratch.mode(of: "tokens/\(parts[1])") == 0o600)
  }

  @Test("with another secret, or another form, are unknown")
  func forged() throws {
    let parts = try make().split(separator: ".").map(String.init)
    let other = Base64URL.encode([UInt8](repeating: 7, count: 32))
    for token in [
      "", "join", "join..", "join.\(parts[1]).", "join.\(parts[1]).\(other)",
      "join.../../x.\(parts[2])", "join.\(parts[1]).\(parts[2]).x", "Join.\(parts[1]).\(parts[2])",
      String(repeating: "a", count: IdentityLimits.tokenBytes + 1),
    ] {
      #expect(throws: JoinTokens.Doubt.unknown) { try tokens.look(up: token, at: now) }
    }
  }

  @Test("whose files are damaged are unknown")
  func damaged() throws {
    let token = try make()
    let id = try #require(JoinTokens.parts(of: token)?.id)
    for text in ["", "x", "spiffe://cluster.local/ns/shop/sa/cart 99 twice abc"] {
      try scratch.write("tokens/\(id)", Array(text.utf8))
      #expect(throws: JoinTokens.Doubt.unknown) { try tokens.look(up: token, at: 1) }
    }
  }
}
