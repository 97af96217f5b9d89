import MeshMessages
import MeshModel
import ResourceModel
import Resources
import SwiftProtobuf

/// Envoy's messages as people write them in an EnvoyFilter: in full, for they may set what nothing here
/// knows of. Read when the first one is.
package enum PatchSchema {
  package static let reader = MessageReader(
    ObjectSchema(wholeEnvoy: wholeEnvoyTable, gaps: wholeEnvoyGaps))

  /// The full name of the message that a patch's value is; nil when nothing follows from such a patch.
  package static func message(for applyTo: EnvoyFilter.ApplyTo) -> String? {
    switch applyTo {
    case .listener: Envoy_Config_Listener_V3_Listener.protoMessageName
    case .filterChain: Envoy_Config_Listener_V3_FilterChain.protoMessageName
    case .listenerFilter: Envoy_Config_Listener_V3_ListenerFilter.protoMessageName
    case .networkFilter: Envoy_Config_Listener_V3_Filter.protoMessageName
    case .httpFilter:
      Envoy_Extensions_Filters_Network_HttpConnectionManager_V3_HttpFilter.protoMessageName
    case .routeConfiguration: Envoy_Config_Route_V3_RouteConfiguration.protoMessageName
    case .virtualHost: Envoy_Config_Route_V3_VirtualHost.protoMessageName
    case .httpRoute: Envoy_Config_Route_V3_Route.protoMessageName
    case .cluster: Envoy_Config_Cluster_V3_Cluster.protoMessageName
    case .extensionConfig: Envoy_Config_Core_V3_TypedExtensionConfig.protoMessageName
    case .bootstrap, .invalid, .UNRECOGNIZED: nil
    }
  }

  /// Whether a value can be used: one that is nested too deep cannot.
  package static func canUse(_ bytes: [UInt8], for applyTo: EnvoyFilter.ApplyTo) -> Bool {
    func decodes<Value: Message>(_ type: Value.Type) -> Bool {
      (try? Value(serializedBytes: bytes)) != nil
    }
    return switch applyTo {
    case .listener: decodes(Envoy_Config_Listener_V3_Listener.self)
    case .filterChain: decodes(Envoy_Config_Listener_V3_FilterChain.self)
    case .listenerFilter: decodes(Envoy_Config_Listener_V3_ListenerFilter.self)
    case .networkFilter: decodes(Envoy_Config_Listener_V3_Filter.self)
    case .httpFilter: decodes(NetworkFilters.HTTPFilter.self)
    case .routeConfiguration: decodes(Envoy_Config_Route_V3_RouteConfiguration.self)
    case .virtualHost: decodes(Envoy_Config_Route_V3_VirtualHost.self)
    case .httpRoute: decodes(Envoy_Config_Route_V3_Route.self)
    case .cluster: decodes(Envoy_Config_Cluster_V3_Cluster.self)
    case .extensionConfig: decodes(Envoy_Config_Core_V3_TypedExtensionConfig.self)
    case .bootstrap, .invalid, .UNRECOGNIZED: true
    }
  }

  /// The operations that mean something for a part of the configuration.
  package static func operations(
    on applyTo: EnvoyFilter.ApplyTo
  ) -> [EnvoyFilter.Patch.Operation] {
    let edits: [EnvoyFilter.Patch.Operation] = [
      .add, .remove, .insertBefore, .insertAfter, .insertFirst,
    ]
    // Where order means nothing, each way of inserting is adding.
    return switch applyTo {
    case .listener, .filterChain, .cluster: edits + [.merge, .mergeAndReplaceList]
    case .listenerFilter, .networkFilter, .httpFilter: edits + [.merge, .replace]
    case .routeConfiguration: [.merge, .mergeAndReplaceList]
    case .virtualHost: edits + [.merge, .mergeAndReplaceList, .replace]
    case .httpRoute: edits + [.merge, .mergeAndReplaceList]
    case .extensionConfig: [.add, .insertBefore, .insertAfter, .insertFirst]
    case .bootstrap, .invalid, .UNRECOGNIZED: []
    }
  }
}

extension Message {
  /// The message with a patch's value laid over it; nil when the two do not make a message.
  func merged(with patch: EnvoyPatch) -> Self? {
    guard let mine = try? steadyBytes() else { return nil }
    let whole = PatchSchema.reader.merge(
      mine, patch.value, as: Self.protoMessageName,
      replacingLists: patch.operation == .mergeAndReplaceList)
    return try? Self(serializedBytes: whole)
  }
}

extension Google_Protobuf_Any {
  /// Both configurations in one; nil when they are of different types.
  func merged(with other: Google_Protobuf_Any) -> Google_Protobuf_Any? {
    guard typeURL == other.typeURL else { return nil }
    let name = typeURL.split(separator: "/").last.map(String.init) ?? ""
    var whole = self
    whole.value = .init(
      PatchSchema.reader.merge(Array(value), Array(other.value), as: name))
    return whole
  }
}
