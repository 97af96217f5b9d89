import Engine
import GRPC
import ResourceModel
import Resources
import SwiftProtobuf
import Testing

@testable import XDSClient

@Suite("A stream to a control plane")
struct XDSClientTests {
  @Test("resources come, and are accepted with their version")
  func accepted() throws {
    let control = try ControlPlane()
    let seen = Watched(control.client, .clusters)
    control.client.start()
    #expect(control.until { control.requests.count == 1 })
    #expect(control.requests[0].node.id == "me")
    control.send(.clusters, version: "1", [.cluster("a"), .cluster("b")], identifier: "theirs")
    #expect(control.until { control.requests.count == 2 })
    #expect(seen.names == [["a", "b"]])
    #expect(control.requests[1].versionInfo == "1")
    #expect(control.requests[1].responseNonce == "1")
    #expect(!control.requests[1].hasErrorDetail)
    #expect(control.identifiers == ["theirs"])
    #expect(control.connections == [true])
  }

  @Test("one secret for several is asked for once, and named when it is refused")
  func secrets() throws {
    let control = try ControlPlane()
    let watched = (0..<2).map { _ in Watched(control.client, .secrets, named: "own") }
    control.client.start()
    #expect(control.until { control.requests.count == 1 })
    #expect(control.requests[0].typeURL == ResourceType.secrets.url)
    #expect(control.requests[0].resourceNames == ["own"])
    watched[1].refusals = [Refusal(name: "own", reasons: ["the key does not fit"])]
    control.send(.secrets, version: "1", [.secret("own")])
    #expect(control.until { control.requests.count == 2 })
    #expect(control.requests[1].errorDetail.message == "own: the key does not fit")
    #expect(watched.map(\.names) == [[["own"]], [["own"]]])
  }

  @Test("the node is said once if the configuration says so", arguments: [true, false])
  func node(isSaidOnce: Bool) throws {
    let control = try ControlPlane(tellsNodeOnce: isSaidOnce)
    let seen = Watched(control.client, .clusters)
    control.client.start()
    #expect(control.until { control.requests.count == 1 })
    control.send(.clusters, version: "1", [])
    #expect(control.until { control.requests.count == 2 })
    #expect(control.requests.map(\.hasNode) == [true, !isSaidOnce])
    _ = seen
  }

  @Test("what a watcher refuses is refused by name")
  func refused() throws {
    let control = try ControlPlane()
    let seen = Watched(control.client, .clusters)
    seen.refusals = [Refusal(name: "b", reasons: ["no", "never"])]
    control.client.start()
    #expect(control.until { control.requests.count == 1 })
    control.send(.clusters, version: "1", [.cluster("a"), .cluster("b")])
    #expect(control.until { control.requests.count == 2 })
    #expect(control.requests[1].versionInfo == "")
    #expect(control.requests[1].errorDetail.code == 13)
    #expect(control.requests[1].errorDetail.message == "b: no; never")
  }

  @Test(
    "an answer that cannot be taken apart is refused as a whole",
    arguments: [
      (.cluster(""), "a resource without a name"),
      (
        Google_Protobuf_Any.with { $0.typeURL = ResourceType.listeners.url },
        "expected '\(ResourceType.clusters.url)', found '\(ResourceType.listeners.url)'"
      ),
    ])
  func unreadable(bad: Google_Protobuf_Any, reason: String) throws {
    let control = try ControlPlane()
    let seen = Watched(control.client, .clusters)
    control.client.start()
    #expect(control.until { control.requests.count == 1 })
    control.send(.clusters, version: "1", [.cluster("a"), bad])
    #expect(control.until { control.requests.count == 2 })
    #expect(seen.names == [])
    #expect(seen.refused.first?.first == reason)
    #expect(control.requests[1].errorDetail.message.contains(reason))
  }

  @Test("a resource may come in a wrapper that tells its name, beside others that do not")
  func wrapped() throws {
    let control = try ControlPlane()
    let seen = Watched(control.client, .clusters)
    control.client.start()
    #expect(control.until { control.requests.count == 1 })
    control.send(
      .clusters, version: "1",
      [.wrapped("a", .cluster("a")), .cluster("b"), .wrapped("", .cluster("c"))])
    #expect(control.until { control.requests.count == 2 })
    #expect(seen.names == [["a", "b", "c"]])
    #expect(control.requests[1].versionInfo == "1")
    #expect(!control.requests[1].hasErrorDetail)
  }

  @Test(
    "what a wrapper holds has to be what it says, and of the kind that was asked for",
    arguments: [
      (Google_Protobuf_Any.wrapped("b", .cluster("a")), "'a' is announced as 'b'"),
      (.wrapped("a", .endpoints("a")), "found '\(ResourceType.endpoints.url)'"),
      (.wrapped("a", .wrapped("a", .cluster("a"))), "found '\(Google_Protobuf_Any.wrapper)'"),
      (.wrapped("a", .init()), "found ''"),
    ])
  func wronglyWrapped(bad: Google_Protobuf_Any, reason: String) throws {
    let control = try ControlPlane()
    let seen = Watched(control.client, .clusters)
    control.client.start()
    #expect(control.until { control.requests.count == 1 })
    control.send(.clusters, version: "1", [bad])
    #expect(control.until { control.requests.count == 2 })
    #expect(seen.names == [])
    #expect(control.requests[1].errorDetail.message.contains(reason))
  }

  @Test("a wrapper whose bytes are none ends nothing")
  func brokenWrapper() throws {
    let control = try ControlPlane()
    let seen = Watched(control.client, .clusters)
    control.client.start()
    #expect(control.until { control.requests.count == 1 })
    let broken = Google_Protobuf_Any.with {
      $0.typeURL = Google_Protobuf_Any.wrapper
      $0.value = .init([0xFF])
    }
    control.send(.clusters, version: "1", [.cluster("a"), broken])
    #expect(control.until { control.requests.count == 2 })
    #expect(seen.names == [])
    #expect(control.requests[1].versionInfo == "")
    #expect(control.requests[1].responseNonce == "1")
    #expect(control.requests[1].hasErrorDetail)
  }

  @Test("an answer that nobody asked for is told and not answered")
  func stranger() throws {
    let control = try ControlPlane()
    let seen = Watched(control.client, .clusters)
    control.client.start()
    #expect(control.until { control.requests.count == 1 })
    control.send(.routes, version: "1", [])
    control.send(.clusters, version: "2", [])
    #expect(control.until { control.requests.count == 2 })
    #expect(control.requests[1].typeURL == ResourceType.clusters.url)
    #expect(control.problems.count == 1)
    #expect(seen.names == [[]])
  }

  @Test("each name goes to those who hold it; whoever comes later is told what is known")
  func names() throws {
    let control = try ControlPlane()
    let first = Watched(control.client, .endpoints, named: "a")
    let other = Watched(control.client, .endpoints, named: "b")
    control.client.start()
    #expect(control.until { control.requests.count == 1 })
    #expect(control.requests[0].resourceNames == ["a", "b"])
    control.send(.endpoints, version: "1", [.endpoints("a"), .endpoints("stranger")])
    #expect(control.until { control.requests.count == 2 })
    #expect(first.names == [["a"]])
    #expect(other.names == [])
    let second = Watched(control.client, .endpoints, named: "a")
    #expect(control.until { second.names == [["a"]] })
    #expect(first.names.count == 1)
    #expect(control.requests.count == 2)
  }

  @Test("what is not held any more is not asked for any more")
  func unsubscription() throws {
    let control = try ControlPlane()
    var seen: Watched? = Watched(control.client, .routes, named: "a")
    control.client.start()
    #expect(control.until { control.requests.count == 1 })
    seen = nil
    _ = seen
    #expect(control.until { control.requests.count == 2 })
    #expect(control.requests[1].resourceNames == [])
    // Asked for again, it has to come again.
    let again = Watched(control.client, .routes, named: "a")
    #expect(control.until { control.requests.count == 3 })
    #expect(again.names == [])
  }

  @Test("a stream that ends is begun again, with what was accepted")
  func reconnection() throws {
    let control = try ControlPlane()
    let seen = Watched(control.client, .clusters)
    control.client.start()
    #expect(control.until { control.requests.count == 1 })
    control.send(.clusters, version: "7", [])
    #expect(control.until { control.requests.count == 2 })
    control.end()
    #expect(control.until { control.requests.count == 3 })
    #expect(control.requests[2].versionInfo == "7")
    #expect(control.requests[2].responseNonce == "")
    #expect(control.requests[2].node.id == "me")
    #expect(seen.disconnections == 1)
    #expect(control.connections == [true, false])
  }

  @Test("delta: a watcher of all hears what is gone, one of a name that it is not there")
  func removals() throws {
    let control = try ControlPlane(.delta)
    let all = Watched(control.client, .clusters)
    let one = Watched(control.client, .endpoints, named: "x")
    control.client.start()
    #expect(control.until { control.deltas.count == 2 })
    control.sendDelta(.clusters, version: "1", [.cluster("a")], names: ["a"], removed: ["z"])
    #expect(control.until { control.deltas.count == 3 })
    #expect(all.names == [["a"]])
    #expect(all.removed == [["z"]])
    control.sendDelta(.endpoints, version: "2", [], names: [], removed: ["x"])
    #expect(control.until { control.deltas.count == 4 })
    #expect(one.names == [[]])
    #expect(control.deltas[3].responseNonce == "2")
  }

  @Test("delta: a resource that is announced under another name is refused")
  func misannounced() throws {
    let control = try ControlPlane(.delta)
    let all = Watched(control.client, .clusters)
    control.client.start()
    #expect(control.until { control.deltas.count == 1 })
    control.sendDelta(.clusters, version: "1", [.cluster("a")], names: ["b"])
    #expect(control.until { control.deltas.count == 2 })
    #expect(control.deltas[1].errorDetail.message == "'a' is announced as 'b'")
    #expect(all.refused == [["'a' is announced as 'b'"]])
  }

  @Test("bytes that are no answer end nothing")
  func garbage() throws {
    let control = try ControlPlane()
    let seen = Watched(control.client, .clusters)
    control.client.start()
    #expect(control.until { control.requests.count == 1 })
    control.send([0xFF])
    control.send(.clusters, version: "1", [.cluster("a")])
    #expect(control.until { control.requests.count == 2 })
    #expect(control.problems.count == 1)
    #expect(seen.names == [["a"]])
  }
}

extension Google_Protobuf_Any {
  static let wrapper = "type.googleapis.com/envoy.service.discovery.v3.Resource"

  static func wrapped(_ name: String, _ resource: Self) -> Self {
    let message = Envoy_Service_Discovery_V3_Resource.with {
      $0.name = name
      $0.resource = resource
    }
    return .with {
      $0.typeURL = wrapper
      $0.value = (try? message.serializedBytes()) ?? .init()
    }
  }

  static func cluster(_ name: String) -> Self {
    let message = Envoy_Config_Cluster_V3_Cluster.with { $0.name = name }
    return pack(.clusters, message)
  }

  static func endpoints(_ name: String) -> Self {
    let message = Envoy_Config_Endpoint_V3_ClusterLoadAssignment.with { $0.clusterName = name }
    return pack(.endpoints, message)
  }

  static func secret(_ name: String) -> Self {
    pack(.secrets, Envoy_Extensions_TransportSockets_Tls_V3_Secret.with { $0.name = name })
  }

  static func pack(_ type: ResourceType, _ message: some Message) -> Self {
    .with {
      $0.typeURL = type.url
      $0.value = (try? message.serializedBytes()) ?? .init()
    }
  }
}
