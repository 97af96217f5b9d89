import ResourceModel
import Resources
import Testing

@Suite("Where resources come from")
struct ConfigSourceCheckerTests {
  private func problems(_ source: Envoy_Config_Core_V3_ConfigSource) -> [String] {
    let diagnostics = Diagnostics(files: ["x"])
    ConfigSourceChecker(diagnostics: diagnostics).check(source, at: .root.field("config_source"))
    return diagnostics.rendered
  }

  @Test("an aggregated stream is refused by name, because the proxy has none yet")
  func aggregated() {
    let found = problems(.with { $0.ads = .init() })
    #expect(found.count == 1)
    #expect(found[0].contains("config_source.ads: only fairlead-control takes this so far"))
  }

  @Test("a file has to be there")
  func file() {
    #expect(problems(.with { $0.pathConfigSource.path = "/nowhere/x" }).count == 1)
    #expect(problems(.with { $0.pathConfigSource.path = "/" }) == [])
  }
}
