import MeshMessages
import MeshModel
import ResourceModel

extension ProxyConfiguration {
  /// Applies what EnvoyFilters say to a part of a proxy's configuration, after all of it has been made.
  mutating func patch(
    _ snapshot: MeshSnapshot, for node: ProxyNode, in context: EnvoyFilter.PatchContext,
    inboundHosts: [String: [String]] = [:], notes: OmissionNotes
  ) {
    guard let run = PatchRun(snapshot, for: node, in: context, notes: notes) else { return }
    guard ClientProfile.of(node.client).isProxy else {
      return run.refuseAll("gRPC's library is no proxy, and is not patched")
    }
    ClusterPatches(run: run, inboundHosts: inboundHosts).apply(to: &clusters)
    ListenerPatches(run: run).apply(to: &listeners)
    RoutePatches(run: run).apply(to: &routes)
    extensions += ExtensionPatches.added(run)
  }
}

/// Configurations that filters take by their name (ECDS).
enum ExtensionPatches {
  typealias Extension = Envoy_Config_Core_V3_TypedExtensionConfig

  static func added(_ run: PatchRun) -> [Extension] {
    run.patches(.extensionConfig).compactMap { patch in
      guard let added = try? Extension(serializedBytes: patch.value),
        run.accepts(added, insteadOf: nil, patch, added.name, FairleadTrial.problems)
      else { return nil }
      return added
    }
  }
}
