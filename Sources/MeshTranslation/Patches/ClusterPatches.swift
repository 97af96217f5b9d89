import MeshMessages
import MeshModel
import ResourceModel
import SwiftProtobuf

/// What patches make of clusters.
struct ClusterPatches {
  typealias Cluster = Envoy_Config_Cluster_V3_Cluster

  let run: PatchRun
  /// The services behind a cluster that leads to the workload, by the cluster's name.
  let inboundHosts: [String: [String]]

  /// Removes and merges, then adds.
  func apply(to clusters: inout [Cluster]) {
    let changes = run.patches(.cluster) { $0.isMerge || $0.operation == .remove }
    if !changes.isEmpty { clusters = clusters.compactMap { patched($0, changes) } }
    for patch in run.patches(.cluster, run.adds) {
      guard let added = try? Cluster(serializedBytes: patch.value) else { continue }
      if clusters.contains(where: { $0.name == added.name }) {
        run.note(patch, "there is a cluster '\(added.name)' already")
      } else if run.accepts(added, insteadOf: nil, patch, added.name, FairleadTrial.problems) {
        clusters.append(added)
      }
    }
  }

  private func patched(_ cluster: Cluster, _ patches: [EnvoyPatch]) -> Cluster? {
    var cluster = cluster
    for patch in patches where matches(cluster, patch) {
      if patch.operation == .remove { return nil }
      guard let changed = merged(cluster, patch) else { continue }
      run.keep(changed, over: &cluster, patch, cluster.name, FairleadTrial.problems)
    }
    return cluster
  }

  /// The socket of a patch goes into the one of the same name, which may be among those that endpoints
  /// choose from.
  private func merged(_ cluster: Cluster, _ patch: EnvoyPatch) -> Cluster? {
    guard let given = try? Cluster(serializedBytes: patch.value) else { return nil }
    guard given.hasTransportSocket else { return cluster.merged(with: patch) }
    var base = cluster
    base.clearTransportSocket()
    guard var whole = base.merged(with: patch) else { return nil }
    whole.clearTransportSocket()
    let socket = given.transportSocket
    guard whole.transportSocketMatches.isEmpty else {
      let place = whole.transportSocketMatches.firstIndex {
        $0.transportSocket.name == socket.name
      }
      guard let place else {
        run.note(
          patch,
          "'\(cluster.name)' chooses its socket by the endpoint, and has none of the name "
            + "'\(socket.name)'")
        return nil
      }
      var choice = whole.transportSocketMatches[place].transportSocket
      guard merge(socket, into: &choice, patch, cluster.name) else { return nil }
      whole.transportSocketMatches[place].transportSocket = choice
      return whole
    }
    var mine = cluster.transportSocket
    if mine.name != socket.name {
      mine = socket
    } else if !merge(socket, into: &mine, patch, cluster.name) {
      return nil
    }
    whole.transportSocket = mine
    return whole
  }

  private func merge(
    _ socket: Envoy_Config_Core_V3_TransportSocket,
    into mine: inout Envoy_Config_Core_V3_TransportSocket, _ patch: EnvoyPatch, _ name: String
  ) -> Bool {
    guard let both = mine.typedConfig.merged(with: socket.typedConfig) else {
      run.note(patch, "the socket of '\(name)' is of another type: \(mine.typedConfig.typeURL)")
      return false
    }
    mine.typedConfig = both
    return true
  }

  // MARK: Matching

  private func matches(_ cluster: Cluster, _ patch: EnvoyPatch) -> Bool {
    guard let match = patch.cluster else { return true }
    if !match.name.isEmpty { return match.name == cluster.name }
    // `direction|port|subset|host`; others have none of these.
    let parts = cluster.name.split(separator: "|", omittingEmptySubsequences: false)
      .map(String.init)
    let isNamed = parts.count == 4
    if !match.subset.isEmpty, !isNamed || parts[2] != match.subset { return false }
    if match.portNumber != 0, !isNamed || UInt32(parts[1]) != match.portNumber { return false }
    guard !match.service.isEmpty else { return true }
    if let hosts = inboundHosts[cluster.name], !hosts.isEmpty {
      return hosts.contains(match.service)
    }
    return isNamed && parts[3] == match.service
  }
}
