import Resources
import Testing

@Suite("Files of resources")
struct DiscoveryFileTests {
  private func read(_ text: String) throws(DiscoveryFile.Unreadable) -> DiscoveredSet {
    try DiscoveryFile.parse(Array(text.utf8), name: "routes.yaml")
  }

  private let type = "\"@type\": type.googleapis.com/envoy.config.route.v3.RouteConfiguration"

  @Test("a resource has a type, a name, a place and its own mistakes")
  func parts() throws {
    let set = try read(
      """
      version_info: "7"
      resources:
      - \(type)
        name: good
      - \(type)
        name: bad
        nonsense: 1
        virtual_hosts: [{name: v}]
      """)
    #expect(set.version == "7")
    #expect(set.resources.map(\.name) == ["good", "bad"])
    #expect(set.resources.map(\.isFit) == [true, false])
    let problems = set.resources[1].problems
    #expect(problems.count == 2)
    #expect(problems[0].hasPrefix("routes.yaml:7:3: resources[1].nonsense: no such field"))
    #expect(problems[1].contains("resources[1].virtual_hosts[0].domains"))
  }

  @Test("mistakes of the tenth resource are not the first one's")
  func prefixes() throws {
    let list = (0...10).map { "- {\(type), name: r\($0)\($0 == 10 ? ", nonsense: 1" : "")}" }
    let set = try read("resources:\n" + list.joined(separator: "\n"))
    #expect(set.resources.map(\.isFit) == Array(repeating: true, count: 10) + [false])
  }

  @Test(
    "what no resource is to blame for refuses the whole",
    arguments: [
      ("resources: [", false), ("versio_info: \"1\"", true),
      ("resources: [{\"@type\": type.googleapis.com/envoy.type.v3.Percent}]", true),
      ("resources: [1]", true),
    ])
  func refused(text: String, isRefusal: Bool) {
    do throws(DiscoveryFile.Unreadable) {
      _ = try read(text)
      Issue.record("it was read")
    } catch {
      #expect(error.isRefusal == isRefusal)
      #expect(!error.reasons.isEmpty)
    }
  }
}
