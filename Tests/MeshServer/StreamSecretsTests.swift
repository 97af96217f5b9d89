import GRPC
import Testing

@testable import MeshServer

/// An authority that counts.
private final class Source {
  var issued = 0
  var fails = false
  var roots: [UInt8] = [1]
  var revision: UInt64 = 0

  func caller() -> ControlPlane.Caller {
    ControlPlane.Caller(
      namespace: "shop", identity: "spiffe://d/ns/shop/sa/cart",
      makeCredential: { [self] () throws(RPCStatus) in
        guard !fails else { throw RPCStatus(.internal, "not now") }
        issued += 1
        return .init(key: [9], chain: [UInt8(issued)], renewal: 100 * issued)
      })
  }

  func look(_ secrets: inout StreamSecrets, at now: Int) -> Bool {
    secrets.look(at: now, roots: { roots }, revision: revision)
  }
}

private func names(_ secrets: StreamSecrets) -> [String] {
  (secrets.layer.kinds[ResourceSet.TypeURL.secret]?.sorted ?? []).map(\.name)
}

@Suite("Secrets of a stream's client")
struct StreamSecretsTests {
  @Test("nothing is made before it is asked for, and nothing but what is")
  func lazy() {
    let source = Source()
    var secrets = StreamSecrets(source.caller())
    func look(_ now: Int) -> Bool { source.look(&secrets, at: now) }
    secrets.want(["other"])
    #expect(!look(0))
    secrets.want(["ROOTCA"])
    #expect(look(0))
    #expect(names(secrets) == ["ROOTCA"])
    #expect(source.issued == 0)
    secrets.want(["default"])
    #expect(look(0))
    #expect(names(secrets) == ["ROOTCA", "default"])
    #expect(!look(1))
    #expect(source.issued == 1)
  }

  @Test("a certificate is made anew when it is due, and when something else signs")
  func renewal() {
    let source = Source()
    var secrets = StreamSecrets(source.caller())
    func look(_ now: Int) -> Bool { source.look(&secrets, at: now) }
    secrets.want(["default", "ROOTCA"])
    #expect(look(0))
    #expect(!look(99))
    #expect(look(100))
    #expect(source.issued == 2)
    source.revision += 1
    source.roots = [1, 2]
    #expect(look(101))
    #expect(source.issued == 3)
    #expect(!look(102))
  }

  @Test("what was sent stays while nothing new can be made, and that is tried again")
  func failure() {
    let source = Source()
    var secrets = StreamSecrets(source.caller())
    func look(_ now: Int) -> Bool { source.look(&secrets, at: now) }
    secrets.want(["default"])
    #expect(look(0))
    source.fails = true
    #expect(!look(100))
    #expect(names(secrets) == ["default"])
    source.fails = false
    #expect(!look(109))
    #expect(look(110))
  }
}
