import ResourceModel
import Resources
import Testing

@Suite("Where resources come from")
struct ConfigSourceCheckerTests {
  private func problems(
    _ source: Envoy_Config_Core_V3_ConfigSource, hasADS: Bool = true
  ) -> [String] {
    let diagnostics = Diagnostics(files: ["x"])
    ConfigSourceChecker(diagnostics: diagnostics, hasADS: hasADS).check(
      source, at: .root.field("config_source"))
    return diagnostics.rendered
  }

  @Test("the aggregated stream is refused where the bootstrap does not say where it leads")
  func aggregated() {
    #expect(problems(.with { $0.ads = .init() }) == [])
    let found = problems(.with { $0.ads = .init() }, hasADS: false)
    #expect(found.count == 1)
    #expect(found[0].contains("config_source.ads: the bootstrap has no dynamic_resources.ads"))
  }

  @Test("a file has to be there")
  func file() {
    #expect(problems(.with { $0.pathConfigSource.path = "/nowhere/x" }).count == 1)
    #expect(problems(.with { $0.pathConfigSource.path = "/" }) == [])
  }
}
