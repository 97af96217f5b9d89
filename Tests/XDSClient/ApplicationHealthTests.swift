import Resources
import Testing

@testable import XDSClient

@Suite("What a proxy says of its application")
struct ApplicationHealthTests {
  @Test("it is said when it changes, and again on every later stream, behind what is asked for")
  func world() throws {
    let control = try ControlPlane()
    let watched = Watched(control.client, .clusters)
    control.client.start()
    #expect(control.until { control.requests.count == 1 })
    control.client.report(.unready("answers with 503"))
    #expect(control.until { control.requests.count == 2 })
    let said = control.requests[1]
    #expect(said.typeURL == "type.googleapis.com/istio.v1.HealthInformation")
    #expect(said.errorDetail.message == "answers with 503")
    #expect(!said.hasNode)
    control.client.report(.ready)
    #expect(control.until { control.requests.count == 3 })
    #expect(!control.requests[2].hasErrorDetail)
    control.end()
    #expect(control.until { control.requests.count == 5 })
    #expect(control.requests[3].typeURL == ResourceType.clusters.url)
    #expect(control.requests[3].node.id == "me")
    #expect(control.requests[4].typeURL == said.typeURL)
    #expect(!control.requests[4].hasErrorDetail)
    #expect(watched.disconnections == 1)
  }

  @Test("what is known before there is a stream is said on the first; in delta too, with a bound")
  func early() throws {
    let control = try ControlPlane(.delta, tellsNodeOnce: false)
    control.client.report(.unready(String(repeating: "x", count: 5000)))
    control.client.start()
    #expect(control.until { control.deltas.count == 1 })
    #expect(control.deltas[0].node.id == "me")
    #expect(control.deltas[0].errorDetail.code == 500)
    #expect(control.deltas[0].errorDetail.message.utf8.count < 4200)
  }
}
