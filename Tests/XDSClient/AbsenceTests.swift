import Glibc
import ResourceModel
import Resources
import SwiftProtobuf
import Testing

@testable import XDSClient

extension Google_Protobuf_Any {
  /// A cluster in the message that says how long it lasts; or a heartbeat.
  fileprivate static func cluster(
    _ name: String, milliseconds: Int32?, isHeartbeat: Bool = false
  ) -> Self {
    let message = Envoy_Service_Discovery_V3_Resource.with {
      $0.name = name
      if !isHeartbeat { $0.resource = .cluster(name) }
      if let milliseconds { $0.ttl.nanos = milliseconds * 1_000_000 }
    }
    return .with {
      $0.typeURL = wrapper
      $0.value = (try? message.serializedBytes()) ?? .init()
    }
  }
}

@Suite("What becomes of resources without an answer")
struct AbsenceTests {
  @Test("a resource whose time is over is gone, and those that last stay")
  func expiry() throws {
    let control = try ControlPlane()
    let all = Watched(control.client, .clusters)
    let one = Watched(control.client, .clusters, named: "a")
    control.client.start()
    #expect(control.until { control.requests.count == 1 })
    control.send(
      .clusters, version: "1", [.cluster("a", milliseconds: 30), .cluster("b", milliseconds: nil)])
    #expect(control.until { all.removed.count == 1 })
    #expect(all.names == [["a", "b"], []])
    #expect(all.removed == [["a"]])
    #expect(one.names == [["a"], []])
  }

  @Test("heartbeats are no news, and keep what they name")
  func heartbeats() throws {
    let control = try ControlPlane()
    let all = Watched(control.client, .clusters)
    control.client.start()
    #expect(control.until { control.requests.count == 1 })
    control.send(
      .clusters, version: "1", [.cluster("a", milliseconds: 200), .cluster("b", milliseconds: 200)])
    #expect(control.until { control.requests.count == 2 })
    control.send(.clusters, version: "1", [.cluster("b", milliseconds: nil, isHeartbeat: true)])
    #expect(control.until { control.requests.count == 3 })
    #expect(control.requests[2].responseNonce == "2")
    #expect(!control.requests[2].hasErrorDetail)
    #expect(all.names == [["a", "b"]])
    #expect(control.until { !all.removed.isEmpty })
    #expect(all.removed == [["a"]])
    #expect(!control.client.expiryTimer.isSet)
  }

  @Test("who wants a name again before the server hears that nobody does is told what there was")
  func wantedAgain() throws {
    let control = try ControlPlane()
    var first: Watched? = Watched(control.client, .endpoints, named: "a")
    control.client.start()
    #expect(control.until { control.requests.count == 1 })
    control.send(.endpoints, version: "1", [.endpoints("a")])
    #expect(control.until { first?.names == [["a"]] })
    first = nil
    let second = Watched(control.client, .endpoints, named: "a")
    #expect(control.until { !second.names.isEmpty })
    #expect(second.names == [["a"]])
  }

  @Test(
    "a client without a server has what an earlier one kept, until the server answers",
    arguments: [DiscoveryVariant.stateOfTheWorld, .delta])
  func stored(variant: DiscoveryVariant) throws {
    let folder = "/tmp/fairlead-absence-\(getpid())-\(variant)"
    defer {
      for kind in ["Cluster", "ClusterLoadAssignment", "Listener", "RouteConfiguration"] {
        for name in ["a", "b"] {
          _ = unsafe unlink("\(folder)/\(kind)/\(ResourceCache.file(name))")
        }
        _ = unsafe rmdir("\(folder)/\(kind)")
      }
      _ = unsafe rmdir(folder)
    }
    let kept = try ResourceCache(folder, node: "me", now: { 7 })
    kept.store(.clusters, "a", version: "old", [UInt8](Google_Protobuf_Any.cluster("a").value))
    kept.store(.clusters, "b", version: "old", [UInt8](Google_Protobuf_Any.cluster("b").value))

    let control = try ControlPlane(variant)
    control.client.cache = try ResourceCache(folder, node: "me", now: { 8 })
    let all = Watched(control.client, .clusters)
    control.client.start()
    #expect(control.until { control.requests.count + control.deltas.count == 1 })
    #expect(all.names.isEmpty)
    control.end()
    #expect(control.until { !all.names.isEmpty })
    #expect(all.names == [["a", "b"]])
    // Another stream: whoever tells what has changed hears what there is.
    #expect(control.until { control.requests.count + control.deltas.count == 2 })
    if variant == .delta {
      #expect(control.deltas.last?.initialResourceVersions == ["a": "old", "b": "old"])
      control.sendDelta(.clusters, version: "2", [.cluster("a")], names: ["a"], removed: ["b"])
    } else {
      control.send(.clusters, version: "2", [.cluster("a")])
    }
    #expect(control.until { all.names.count == 2 })
    let next = try ResourceCache(folder, node: "me", now: { 9 })
    #expect(next.load(.clusters).map(\.name) == ["a"])
    #expect(next.load(.clusters).map(\.version) == ["2"])
  }
}
