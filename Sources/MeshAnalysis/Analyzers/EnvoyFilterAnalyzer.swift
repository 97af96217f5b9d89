import MeshMessages
import MeshModel
import MeshTranslation
import Resources

/// EnvoyFilters: whom they select, and operations that depend on what others have done before.
enum EnvoyFilterAnalyzer {
  typealias Patch = EnvoyFilter.EnvoyConfigObjectPatch

  static func analyze(_ context: AnalysisContext) {
    // Filters that some patch names for a version of the proxy alone.
    var versioned: Set<String> = []
    for object in context.objects {
      guard case .envoyFilter(let filter) = object.spec else { continue }
      checkSelector(object, filter, context)
      for (index, patch) in filter.configPatches.enumerated() where patch.hasPatch {
        let name = subject(of: patch)
        checkOperation(
          patch, object, filter, .root["spec"]["configPatches"][index],
          isVersioned: versioned.contains(name), context)
        if !patch.match.proxy.proxyVersion.isEmpty { versioned.insert(name) }
      }
    }
  }

  private static func checkSelector(
    _ object: MeshObject, _ filter: EnvoyFilter, _ context: AnalysisContext
  ) {
    guard filter.hasWorkloadSelector, !filter.workloadSelector.labels.isEmpty else { return }
    let labels = filter.workloadSelector.labels
    guard !context.hasWorkload(in: object.namespace, with: labels) else { return }
    context.report(
      .referencedResourceNotFound, object, .root["spec"]["workloadSelector"],
      "Referenced selector not found: \(Words.quoted(Words.selector(labels)))")
  }

  /// What a patch is about: the name in its value, or the filter that it looks for.
  private static func subject(of patch: Patch) -> String {
    guard patch.patch.hasValue else { return "" }
    if let name = patch.patch.value.fields["name"] { return name.stringValue }
    guard case .listener(let match)? = patch.match.objectTypes else { return "" }
    return match.filterChain.filter.name
  }

  private static func checkOperation(
    _ patch: Patch, _ object: MeshObject, _ filter: EnvoyFilter, _ path: ConfigPath,
    isVersioned: Bool, _ context: AnalysisContext
  ) {
    let operation = patch.patch.operation
    let isOfRoutes = patch.applyTo == .routeConfiguration
    // Istio's documentation says the same of HTTP_ROUTE, which both Istio and we do add and remove.
    switch operation {
    case .add where isOfRoutes:
      context.report(
        .envoyFilterAdd, object, path,
        "The ADD operation will be ignored when applyTo is set to ROUTE_CONFIGURATION.")
    case .remove where isOfRoutes:
      context.report(
        .envoyFilterRemove, object, path,
        "The REMOVE operation will be ignored when applyTo is set to ROUTE_CONFIGURATION.")
    case .replace where !PatchSchema.operations(on: patch.applyTo).contains(.replace):
      context.report(
        .envoyFilterReplace, object, path,
        "The REPLACE operation is only valid for HTTP_FILTER, NETWORK_FILTER, LISTENER_FILTER and "
          + "VIRTUAL_HOST.")
    case .remove, .replace, .insertBefore, .insertAfter:
      guard filter.priority == 0 else { return }
      let version = isVersioned ? " and proxyVersion" : ""
      context.report(
        isVersioned ? .envoyFilterVersion : .envoyFilterRelative, object, path,
        "This EnvoyFilter does not have a priority and has a relative patch operation\(version) set "
          + "which can cause the EnvoyFilter not to be applied. Using the INSERT_FIRST or ADD option or "
          + "setting the priority may help in ensuring the EnvoyFilter is applied correctly.")
    default: break
    }
  }
}
