import MeshMessages
import MeshModel
import MeshTranslation
import Resources
import SwiftProtobuf
import Testing

@testable import MeshServer

@Suite("Workloads that register themselves")
struct RegistrationTests {
  private let id = ObjectID(.workloadEntry, "shop", "legacy-10.0.0.1")

  private func node(_ address: String = "10.0.0.1", group: String = "legacy") -> ProxyNode {
    var node = ProxyNode(
      id: "sidecar~\(address)~vm.shop~shop.svc.cluster.local", cluster: "",
      metadata: Google_Protobuf_Struct(), userAgent: "envoy", locality: MeshLocality())
    node.autoRegisterGroup = group
    return node
  }

  @Test("they come with their proxy, and go when it is gone for the grace period")
  func comesAndGoes() {
    var state = RegistrationState(graceMilliseconds: 100)
    let outcome1 = state.connected(node(), stream: 1)
    #expect(outcome1)
    #expect(Array(state.entries.keys) == [id])
    #expect(state.nextDeadline == nil)
    state.disconnected(stream: 1, at: 1000)
    #expect(state.nextDeadline == 1100)
    let outcome2 = state.expire(at: 1099)
    #expect(!outcome2)
    let outcome3 = state.expire(at: 1100)
    #expect(outcome3)
    #expect(state.entries.isEmpty)
  }

  @Test("a proxy that comes back in time is what it was, whichever stream is told of first")
  func comesBack() {
    var state = RegistrationState(graceMilliseconds: 100)
    _ = state.connected(node(), stream: 1)
    let outcome4 = state.report(.healthy, stream: 1)
    #expect(outcome4)
    let outcome5 = state.connected(node(), stream: 2)
    #expect(!outcome5)
    state.disconnected(stream: 1, at: 1000)
    #expect(state.nextDeadline == nil)
    state.disconnected(stream: 2, at: 2000)
    let outcome6 = state.connected(node(), stream: 3)
    #expect(!outcome6)
    let outcome7 = state.expire(at: 5000)
    #expect(!outcome7)
    #expect(state.entries[id]?.health == .healthy)
  }

  @Test("who names no group or has no address is not registered")
  func nobody() {
    var state = RegistrationState(graceMilliseconds: 100)
    let outcome8 = state.connected(node(group: ""), stream: 1)
    #expect(!outcome8)
    var nowhere = node()
    nowhere.addresses = []
    let outcome9 = state.connected(nowhere, stream: 2)
    #expect(!outcome9)
    let outcome10 = state.report(.healthy, stream: 2)
    #expect(!outcome10)
    #expect(RegistrationState.id(of: node("FD00::1"))?.name == "legacy-fd00--1")
  }

  @Test("what an earlier process left has the grace period to come back")
  func restored() {
    var earlier = RegistrationState(graceMilliseconds: 100)
    _ = earlier.connected(node(), stream: 1)
    var state = RegistrationState(graceMilliseconds: 100)
    for (id, entry) in earlier.entries { state.restore(id, entry, at: 50) }
    #expect(state.nextDeadline == 150)
    _ = state.connected(node(), stream: 1)
    let outcome11 = state.expire(at: 1000)
    #expect(!outcome11)
    #expect(state.entries.count == 1)
  }

  @Test("the object says what the group and the proxy say, and is read back")
  func object() throws {
    var state = RegistrationState(graceMilliseconds: 100)
    var labelled = node()
    labelled.labels = ["version": "v2"]
    _ = state.connected(labelled, stream: 1)
    _ = state.report(.unhealthy("no: \"answer\""), stream: 1)
    let group = WorkloadGroup.with {
      $0.metadata.labels = ["app": "legacy"]
      $0.template.labels = ["version": "v1"]
      $0.template.ports = ["http": 8080]
      $0.template.serviceAccount = "vm"
      $0.probe.tcpSocket.port = 8080
    }
    let entry = try #require(state.entries[id])
    let text = RegisteredEntry.value(id, entry, group).yaml
    let document = try #require(try ObjectFile.read(Array(text.utf8), name: "x").first)
    let reading = ObjectReader.read(document)
    #expect(reading.diagnostics.isEmpty)
    let object = try #require(reading.object)
    #expect(object.id == id)
    guard case .workloadEntry(let spec) = object.spec else { return }
    #expect(spec.address == "10.0.0.1")
    #expect(spec.labels == ["app": "legacy", "version": "v2"])
    #expect(spec.ports == ["http": 8080])
    #expect(spec.serviceAccount == "vm")
    let again = try #require(RegisteredEntry.entry(of: object))
    #expect(again.health == entry.health)
    #expect(again.group == entry.group)
    let registry = Registry(objects: [object])
    #expect(registry.workloads.map(\.isReady) == [false])
  }
}
