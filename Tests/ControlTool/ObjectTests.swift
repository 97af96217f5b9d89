import MeshModel
import Testing

@testable import ControlTool

@Suite("Objects on the command line")
struct ObjectTests {
  @Test("kinds go by kubectl's names")
  func kinds() throws {
    for name in ["vs", "VirtualService", "virtualservices", "virtualservices.networking.istio.io"] {
      #expect(try KindName.kind(name) == "VirtualService")
    }
    #expect(try KindName.kind("serviceentries") == "ServiceEntry")
    #expect(try KindName.kind("authorizationpolicies") == "AuthorizationPolicy")
    #expect(throws: ToolError.self) { try KindName.kind("vss") }
    let names = MeshKind.allCases.flatMap { Set([$0.singular, $0.plural] + $0.shortNames) }
    #expect(Set(names).count == names.count)
  }

  @Test("objects are named in kubectl's ways")
  func names() throws {
    func read(_ words: String...) throws -> [String] {
      try ObjectNames.read(words).map { "\($0.kind) \($0.name ?? "*")" }
    }
    #expect(try read("vs") == ["vs *"])
    #expect(try read("vs,dr") == ["vs *", "dr *"])
    #expect(try read("vs", "a", "b") == ["vs a", "vs b"])
    #expect(try read("vs/a", "dr/b") == ["vs a", "dr b"])
    #expect(throws: ToolError.self) { try ObjectNames.read(["vs/a", "b"]) }
    #expect(throws: ToolError.self) { try ObjectNames.read([]) }
  }

  @Test("a form's boundary stands in none of its files")
  func form() {
    let hostile = ObjectFiles.File(name: "a\"b", bytes: Array("x\r\n--fairlead\r\n".utf8))
    let form = ObjectFiles.form([hostile])
    #expect(form.type == "multipart/form-data; boundary=fairlead-x")
    let text = String(decoding: form.body, as: UTF8.self)
    #expect(text.hasSuffix("x\r\n--fairlead\r\n\r\n--fairlead-x--\r\n"))
    #expect(text.contains("filename=\"ab\""))
  }

  @Test("who has not accepted what is told with the reason")
  func reasons() throws {
    let text = """
      {"connected": 2, "live": false, "reasons": [], "waiting": [
        {"proxy": "sidecar~1.2.3.4~web.shop~x", "resources": [
          {"type": "RDS", "name": "80", "state": "refused", "reason": "no domain"},
          {"type": "LDS", "name": "", "state": "unasked", "reason": ""}]}]}
      """
    #expect(
      LiveWait.reasons(try JSONParser.parse(Array(text.utf8))) == [
        "1 of 2 proxies have not accepted it", "web.shop: RDS '80' was refused: no domain",
        "web.shop: LDS has not been asked for",
      ])
  }

  @Test("times are read with their units")
  func times() throws {
    #expect(try Seconds.read("30s") == 30)
    #expect(try Seconds.read("2m") == 120)
    #expect(try Seconds.read("5") == 5)
    #expect(throws: ToolError.self) { try Seconds.read("soon") }
  }
}
