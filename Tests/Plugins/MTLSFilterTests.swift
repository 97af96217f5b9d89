import CFilterABI
import FilterSDK
import MTLS
import Testing

@Suite("Mutual TLS filter")
struct MTLSFilterTests {
  private func stream(_ rig: FilterRig, _ peer: fl_peer, uris: [String] = []) -> FakeStream {
    let stream = rig.stream()
    stream.peer = peer
    stream.peerNames[FL_PEER_URI.rawValue] = uris
    stream.peerNames[FL_PEER_SUBJECT.rawValue] = ["CN=a"]
    return stream
  }

  @Test(
    "only a verified client may speak",
    arguments: [FL_PEER_PLAIN, FL_PEER_ANONYMOUS, FL_PEER_PRESENTED])
  func unverified(peer: fl_peer) throws {
    let rig = try FilterRig(mtlsFilter, ["stat_prefix": "edge"])
    let refused = stream(rig, peer)
    #expect(refused.requestHead([], path: "/") == .replied)
    #expect(
      refused.reply
        == Reply(
          status: 403, body: "a verified client certificate is required",
          details: "mtls_no_certificate"))
    #expect(rig["http.test.mtls.edge.no_certificate"] == 1)
    #expect(stream(rig, FL_PEER_VERIFIED).requestHead([], path: "/") == .continue)
    #expect(rig["http.test.mtls.edge.allowed"] == 1)
  }

  @Test(
    "one of the names has to match",
    arguments: [
      (["uri": ["exact": "spiffe://m/a"]], true), (["uri": ["exact": "spiffe://m/ab"]], false),
      (["uri": ["prefix": "spiffe://m/"]], true), (["uri": ["prefix": "m/"]], false),
      (["uri": ["suffix": "/b"]], true), (["uri": ["contains": "//m"]], true),
      (["uri": ["contains": "//M"]], false),
      (["uri": ["contains": "//M", "ignore_case": true]], true),
      (["dns": ["prefix": ""]], false), (["subject": ["exact": "CN=a"]], true),
    ] as [(Document, Bool)])
  func names(peer: Document, isAllowed: Bool) throws {
    let rig = try FilterRig(mtlsFilter, ["peers": [peer]])
    let stream = stream(rig, FL_PEER_VERIFIED, uris: ["spiffe://m/a", "spiffe://m/b"])
    #expect(stream.requestHead([], path: "/") == (isAllowed ? .continue : .replied))
    #expect(stream.reply?.details == (isAllowed ? nil : "mtls_denied"))
    #expect(rig["http.test.mtls.denied"] == (isAllowed ? 0 : 1))
  }

  @Test("a permissive filter lets everybody through and says who it is")
  func permissive() throws {
    let rig = try FilterRig(mtlsFilter, ["permissive": true])
    let stream = stream(rig, FL_PEER_PRESENTED, uris: ["spiffe://m/a"])
    #expect(stream.requestHead([], path: "/") == .continue)
    #expect(stream.metadata["fairlead.filters.http.mtls:uri"] == "spiffe://m/a")
    #expect(stream.metadata["fairlead.filters.http.mtls:subject"] == "CN=a")
  }

  @Test("a peer without a name, and a name that nobody can match, are refused")
  func mistakes() {
    #expect(throws: FilterRig.Refused.self) { try FilterRig(mtlsFilter, ["peers": [[:]]]) }
    #expect(throws: FilterRig.Refused.self) {
      try FilterRig(mtlsFilter, ["peers": [["uri": ["safe_regex": ["regex": "."]]]]])
    }
  }
}
