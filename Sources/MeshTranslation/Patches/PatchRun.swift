import MeshMessages
import MeshModel
import ResourceModel
import SwiftProtobuf

/// One part of one proxy's configuration while it is patched: which patches there are, and whether the proxy
/// can run what comes of them.
final class PatchRun {
  let context: EnvoyFilter.PatchContext
  private let patches: [EnvoyPatch]
  private let client: ProxyNode.Client
  private let notes: OmissionNotes
  /// Those that have been noted: one resource stands for all.
  private var noted: Set<PatchID> = []

  /// Nil when there is nothing to do.
  init?(
    _ snapshot: MeshSnapshot, for node: ProxyNode, in context: EnvoyFilter.PatchContext,
    notes: OmissionNotes
  ) {
    patches = snapshot.envoyPatches.patches(for: node, in: context)
    guard !patches.isEmpty else { return nil }
    self.context = context
    client = node.client
    self.notes = notes
  }

  /// The patches of one part of the configuration that do something of these kinds, in order.
  func patches(
    _ applyTo: EnvoyFilter.ApplyTo, _ isWanted: (EnvoyPatch) -> Bool = { _ in true }
  ) -> [EnvoyPatch] {
    patches.filter { $0.applyTo == applyTo && isWanted($0) }
  }

  /// What adds something where everything is meant adds it once: not also to what comes to a workload.
  func adds(_ patch: EnvoyPatch) -> Bool {
    patch.operation == .add && (patch.match.context != .any || context != .sidecarInbound)
  }

  /// None of them is for a client of this kind.
  func refuseAll(_ reason: String) {
    for patch in patches { note(patch, reason) }
  }

  /// Takes a changed resource over if the client can run it.
  /// - Parameter problems: what is wrong with one for Fairlead.
  func keep<Resource: Message>(
    _ changed: Resource, over resource: inout Resource, _ patch: EnvoyPatch, _ name: String,
    _ problems: (Resource) -> Set<String>
  ) {
    if accepts(changed, insteadOf: resource, patch, name, problems) { resource = changed }
  }

  /// Whether the client can run a resource, as far as it could run the one before.
  func accepts<Resource: Message>(
    _ changed: Resource, insteadOf resource: Resource?, _ patch: EnvoyPatch, _ name: String,
    _ problems: (Resource) -> Set<String>
  ) -> Bool {
    guard client == .fairlead else { return true }
    let found = problems(changed)
    guard !found.isEmpty else { return true }
    let fresh = found.subtracting(resource.map(problems) ?? [])
    guard let first = fresh.min() else { return true }
    note(patch, "left out of '\(name)': \(first)")
    return false
  }

  /// Notes that a patch has not been applied somewhere.
  func note(_ patch: EnvoyPatch, _ effect: String) {
    guard noted.insert(patch.id).inserted else { return }
    notes.note(patch.id.object, "configPatches[\(patch.id.index)]", effect)
  }
}
