import MeshModel
import MeshTranslation
import Testing

@testable import MeshAnalysis

@Suite("Hosts that cover others")
struct HostIndexTests {
  @Test(
    "the first that covers a host is found, as by looking at one after the other",
    arguments: [
      "a.example", "*.example", "*", "x.a.example", "*.a.example", ".example", "example", "", "*a",
    ])
  func first(host: String) {
    let hosts = ["b.example", "*.a.example", "a.example", "*example", "*.example", "*"]
    for count in 0...hosts.count {
      let some = Array(hosts.prefix(count))
      #expect(
        HostIndex(some).first(covering: host)
          == some.firstIndex { HostPattern.matches($0, host) }, "\(some) \(host)")
    }
  }

  @Test("a hundred thousand hosts are not held against each other", .timeLimit(.minutes(1)))
  func many() {
    let hosts = (0..<50_000).flatMap { ["h\($0).example", "*.p\($0).example"] }
    var index = HostIndex()
    for (place, host) in hosts.enumerated() {
      #expect(index.first(covering: host) == nil)
      index.insert(host, at: place)
    }
    #expect(index.first(covering: "x.p7.example") == 15)
  }
}
