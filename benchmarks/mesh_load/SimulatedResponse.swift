import ResourceModel
import SwiftProtobuf

/// The types of resources that a simulated proxy asks for.
enum SimulatedKind: String, CaseIterable {
  case cluster = "envoy.config.cluster.v3.Cluster"
  case endpoints = "envoy.config.endpoint.v3.ClusterLoadAssignment"
  case listener = "envoy.config.listener.v3.Listener"
  case routes = "envoy.config.route.v3.RouteConfiguration"

  var typeURL: String { "type.googleapis.com/" + rawValue }

  /// In the older variant, a response need not hold all that there is.
  var isPartial: Bool { self == .endpoints || self == .routes }
}

/// A response in either variant, as far as a simulated proxy looks into it.
struct SimulatedResponse {
  /// A resource: its name, and its bytes.
  struct Resource {
    let name: String
    let bytes: [UInt8]

    func contains(_ text: [UInt8]) -> Bool {
      guard bytes.count >= text.count, let first = text.first else { return false }
      return bytes.indices.dropLast(text.count - 1).contains { start in
        bytes[start] == first && bytes[start..<(start + text.count)].elementsEqual(text)
      }
    }
  }

  let kind: SimulatedKind
  let version: String
  let nonce: String
  var resources: [Resource] = []
  var removed: [String] = []

  /// Nil when it cannot be read.
  init?(_ message: [UInt8], isDelta: Bool) {
    let typeURL: String
    if isDelta {
      guard
        let wire = try? Envoy_Service_Discovery_V3_DeltaDiscoveryResponse(
          serializedBytes: message)
      else { return nil }
      (typeURL, version, nonce) = (wire.typeURL, wire.systemVersionInfo, wire.nonce)
      removed = wire.removedResources
      resources = wire.resources.map {
        Resource(name: $0.name, bytes: Array($0.resource.value))
      }
    } else {
      guard
        let wire = try? Envoy_Service_Discovery_V3_DiscoveryResponse(serializedBytes: message)
      else { return nil }
      (typeURL, version, nonce) = (wire.typeURL, wire.versionInfo, wire.nonce)
      resources = wire.resources.map { resource in
        let bytes = Array(resource.value)
        return Resource(name: Self.name(of: bytes), bytes: bytes)
      }
    }
    guard let kind = SimulatedKind.allCases.first(where: { $0.typeURL == typeURL }) else {
      return nil
    }
    self.kind = kind
  }

  /// The first field, which is the name in all four types: to read whole clusters would cost more than
  /// the control plane takes to make them.
  private static func name(of bytes: [UInt8]) -> String {
    guard bytes.count > 2, bytes[0] == 0x0a else { return "" }
    var length = Int(bytes[1] & 0x7f)
    var start = 2
    if bytes[1] & 0x80 != 0 {
      length |= Int(bytes[2] & 0x7f) << 7
      start = 3
    }
    guard start + length <= bytes.count else { return "" }
    return String(decoding: bytes[start..<(start + length)], as: UTF8.self)
  }

  /// The configurations that listeners get from the stream.
  var routeNames: Set<String> {
    var names: Set<String> = []
    for resource in resources {
      guard
        let listener = try? Envoy_Config_Listener_V3_Listener(serializedBytes: resource.bytes)
      else { continue }
      for filter in listener.filterChains.flatMap(\.filters) + listener.defaultFilterChain.filters {
        guard
          let manager =
            try? Envoy_Extensions_Filters_Network_HttpConnectionManager_V3_HttpConnectionManager(
              serializedBytes: Array(filter.typedConfig.value)),
          case .rds(let rds)? = manager.routeSpecifier
        else { continue }
        names.insert(rds.routeConfigName)
      }
    }
    return names
  }
}
