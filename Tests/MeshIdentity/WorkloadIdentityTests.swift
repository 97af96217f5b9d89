import Testing

@testable import MeshIdentity

@Suite("Workload identities")
struct WorkloadIdentityTests {
  @Test("are read as they are written")
  func roundTrip() throws {
    let identity = try #require(
      WorkloadIdentity(trustDomain: "cluster.local", namespace: "shop", serviceAccount: "a.b-c"))
    #expect(identity.uri == "spiffe://cluster.local/ns/shop/sa/a.b-c")
    #expect(WorkloadIdentity(uri: identity.uri) == identity)
  }

  @Test(
    "of another form are none",
    arguments: [
      "", "spiffe://", "spiffe://cluster.local", "spiffe://cluster.local/ns/a/sa/",
      "spiffe://cluster.local/ns//sa/b", "spiffe://cluster.local/ns/a/sa/b/c",
      "spiffe://cluster.local/ns/a/sb/b", "https://cluster.local/ns/a/sa/b",
      "spiffe://cluster.local/ns/A/sa/b", "spiffe://Cluster.local/ns/a/sa/b",
      "spiffe://cluster.local/ns/a/sa/b,URI:spiffe:", "spiffe://c/ns/a/sa/b\u{0}",
      "spiffe://c/ns/-a/sa/b", "spiffe://c/ns/a/sa/..", "spiffe://c/ns/a/sa/b ",
      "spiffe:///ns/a/sa/b",
    ])
  func refused(uri: String) { #expect(WorkloadIdentity(uri: uri) == nil) }

  @Test("have names of bounded length")
  func lengths() {
    func make(_ namespace: Int, _ account: Int) -> WorkloadIdentity? {
      WorkloadIdentity(
        trustDomain: "t", namespace: String(repeating: "n", count: namespace),
        serviceAccount: String(repeating: "s", count: account))
    }
    #expect(make(63, 63) != nil)
    #expect(make(64, 63) == nil)
    #expect(make(63, 64) == nil)
  }

  @Test("of a trust domain with an @ have a dot in its place")
  func trustDomains() {
    #expect(WorkloadIdentity.trustDomain(from: "mesh@example.com") == "mesh.example.com")
    #expect(WorkloadIdentity.trustDomain(from: "Mesh") == nil)
  }
}
