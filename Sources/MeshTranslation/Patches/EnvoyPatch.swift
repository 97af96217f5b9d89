import CRE2
import MeshMessages
import MeshModel
import ResourceModel
import Resources

/// What names a patch: the object, and its place in the object's list.
package struct PatchID: Hashable, Sendable {
  package let object: ObjectID
  package let index: Int
}

/// One change that an EnvoyFilter makes, with its value read.
struct EnvoyPatch: Sendable {
  let id: PatchID
  let applyTo: EnvoyFilter.ApplyTo
  let operation: EnvoyFilter.Patch.Operation
  let filterClass: EnvoyFilter.Patch.FilterClass
  let match: EnvoyFilter.EnvoyConfigObjectMatch
  /// A message of Envoy's in protobuf's binary form; empty where nothing is put anywhere.
  let value: [UInt8]
  private let version: VersionPattern?

  /// Nil for what has been refused or means nothing.
  init?(_ patch: EnvoyFilter.EnvoyConfigObjectPatch, _ id: PatchID) {
    guard let message = PatchSchema.message(for: patch.applyTo),
      PatchSchema.operations(on: patch.applyTo).contains(patch.patch.operation)
    else { return nil }
    let isOrdered =
      switch patch.applyTo {
      case .httpFilter, .networkFilter, .listenerFilter, .httpRoute: true
      default: false
      }
    switch patch.patch.operation {
    case .insertBefore, .insertAfter, .insertFirst:
      operation = isOrdered ? patch.patch.operation : .add
    default: operation = patch.patch.operation
    }
    guard let reading = PatchSchema.reader.read(patch.patch.value, as: message) else { return nil }
    value = reading.bytes
    self.id = id
    applyTo = patch.applyTo
    filterClass = patch.patch.filterClass
    match = patch.match
    let pattern = patch.match.proxy.proxyVersion
    version = pattern.isEmpty ? nil : VersionPattern(pattern)
  }

  /// Whether the part of a proxy's configuration, and the proxy, are those that are meant.
  func applies(to node: ProxyNode, in context: EnvoyFilter.PatchContext) -> Bool {
    guard match.context == .any || match.context == context else { return false }
    guard match.hasProxy else { return true }
    if let version, node.istioVersion.isEmpty || !version.isFound(in: node.istioVersion) {
      return false
    }
    return match.proxy.metadata.allSatisfy { node.metadata[$0.key] == $0.value }
  }

  // MARK: What it looks for

  var listener: EnvoyFilter.ListenerMatch? {
    guard case .listener(let match)? = match.objectTypes else { return nil }
    return match
  }

  var routes: EnvoyFilter.RouteConfigurationMatch? {
    guard case .routeConfiguration(let match)? = match.objectTypes else { return nil }
    return match
  }

  var cluster: EnvoyFilter.ClusterMatch? {
    guard case .cluster(let match)? = match.objectTypes else { return nil }
    return match
  }

  var isMerge: Bool { operation == .merge || operation == .mergeAndReplaceList }
}

/// An expression that a proxy's version is compared with. RE2 takes time linear in the text.
@safe
final class VersionPattern: @unchecked Sendable {
  /// Nil for an expression that RE2 does not take, which matches nothing.
  private let raw: OpaquePointer?

  init(_ pattern: String) {
    let bytes = Array(pattern.utf8)
    var message = [CChar](repeating: 0, count: 128)
    let capacity = message.count
    // SAFETY: both buffers outlive the call. The object is freed once, in `deinit`, and RE2 matches with
    // one expression on several threads at once.
    unsafe raw = bytes.withUnsafeBytes { bytes in
      unsafe fl_regex_compile(
        bytes.bindMemory(to: CChar.self).baseAddress, bytes.count, &message, capacity)
    }
  }

  deinit {
    guard let raw = unsafe raw else { return }
    unsafe fl_regex_free(raw)
  }

  /// Whether a part of the text matches, as Istio asks.
  func isFound(in text: String) -> Bool {
    guard let raw = unsafe raw else { return false }
    let bytes = Array(text.utf8)
    // SAFETY: the text outlives the call.
    return unsafe bytes.withUnsafeBufferPointer {
      unsafe fl_regex_partial_match(raw, $0.baseAddress, $0.count) == 1
    }
  }
}
