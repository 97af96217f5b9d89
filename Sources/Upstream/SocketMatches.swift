import Engine
import ResourceModel
import Resources
import SwiftProtobuf

/// What an endpoint says of itself, or a transport socket wants it to say: a name and a value.
package struct SocketLabel: BitwiseCopyable {
  let name: Bytes
  /// As protobuf writes it: two that are the same have the same bytes.
  let value: Bytes
}

/// A transport socket for those endpoints of which the metadata says so.
package struct SocketMatch: BitwiseCopyable {
  package let name: Bytes
  /// What has to be said; nothing: it is for all.
  let criteria: Table<SocketLabel>
  /// The number of its TLS configuration; -1 for plain bytes. Set before any worker sees the cluster.
  package var security: Int32 = -1

  fileprivate func isFor(_ labels: Table<SocketLabel>) -> Bool {
    for index in 0..<criteria.count {
      guard Self.has(labels, criteria[index]) else { return false }
    }
    return true
  }

  private static func has(_ labels: Table<SocketLabel>, _ wanted: SocketLabel) -> Bool {
    for index in 0..<labels.count {
      if labels[index].name == wanted.name, labels[index].value == wanted.value { return true }
    }
    return false
  }
}

extension ClusterConfig {
  /// The number of the TLS configuration for an endpoint: that of the first match, or else the
  /// cluster's own.
  package func security(of endpoint: Ref<EndpointConfig>) -> Int32 {
    match(of: endpoint).map { socketMatches[$0].value.security } ?? security
  }

  /// The place of the first match for an endpoint.
  func match(of endpoint: Ref<EndpointConfig>) -> Int? {
    for index in 0..<socketMatches.count
    where socketMatches[index].value.isFor(endpoint.value.socketLabels) {
      return index
    }
    return nil
  }

  /// All of its TLS configurations.
  package var securities: [Int32] { [security] + socketMatches.array.map { $0.value.security } }

  /// Some connection may begin with TLS.
  package var mayBeSecured: Bool {
    if security >= 0 { return true }
    for index in 0..<socketMatches.count where socketMatches[index].value.security >= 0 {
      return true
    }
    return false
  }
}

/// Compiles by what transport sockets and endpoints find each other.
enum SocketMatchCompiler {
  /// The one entry of an endpoint's `filter_metadata` that is looked at.
  private static let namespace = "envoy.transport_socket_match"

  /// `transport_socket_matches`; their sockets are compiled where transport sockets are.
  static func matches(
    _ cluster: Envoy_Config_Cluster_V3_Cluster, at path: ConfigPath, _ diagnostics: Diagnostics
  ) -> Table<Ref<SocketMatch>> {
    guard !cluster.transportSocketMatches.isEmpty else { return .empty }
    if !cluster.healthChecks.isEmpty {
      diagnostics.error(
        at: path.field("health_checks"), "not supported together with transport_socket_matches")
    }
    return .configured(
      cluster.transportSocketMatches.map { match in
        .configured(
          SocketMatch(name: .configured(match.name), criteria: labels(match.match)))
      })
  }

  /// What an endpoint's metadata says of its transport socket.
  static func labels(
    _ metadata: Envoy_Config_Core_V3_Metadata, at path: ConfigPath, _ diagnostics: Diagnostics
  ) -> Table<SocketLabel> {
    for name in metadata.filterMetadata.keys.sorted() where name != namespace {
      diagnostics.error(
        at: path.field("metadata").field("filter_metadata").field(name),
        "known to Envoy, not supported by Fairlead; only \(namespace) is")
    }
    return labels(metadata.filterMetadata[namespace] ?? Google_Protobuf_Struct())
  }

  private static func labels(_ said: Google_Protobuf_Struct) -> Table<SocketLabel> {
    guard !said.fields.isEmpty else { return .empty }
    var options = BinaryEncodingOptions()
    options.useDeterministicOrdering = true
    return .configured(
      said.fields.sorted { $0.key < $1.key }.map { name, value in
        let bytes: [UInt8] = (try? value.serializedBytes(options: options)) ?? []
        return SocketLabel(name: .configured(name), value: .configured(bytes))
      })
  }
}
