import MeshMessages
import MeshModel
import MeshTranslation
import Resources

/// What is wrong with an EnvoyFilter, by Istio's rules; and what Envoy has no field or type for, which Istio
/// only warns of.
struct EnvoyFilterCheck {
  typealias Patch = EnvoyFilter.EnvoyConfigObjectPatch

  let check: FieldCheck
  let object: MeshObject

  func check(_ filter: EnvoyFilter, _ path: ConfigPath) {
    check.selector(
      filter.hasWorkloadSelector ? filter.workloadSelector.labels : nil, path["workloadSelector"])
    if filter.hasWorkloadSelector, !filter.targetRefs.isEmpty {
      check.error(
        path["workloadSelector"],
        "an EnvoyFilter has a 'workloadSelector' or 'targetRefs': remove one")
    }
    for (index, target) in filter.targetRefs.enumerated()
    where target.kind != "Gateway" || target.group != "gateway.networking.k8s.io" {
      check.error(
        path["targetRefs"][index],
        "'\(target.kind)' of '\(target.group)' is known to Istio, not supported by Fairlead: there are "
          + "no waypoints; expected 'kind: Gateway' of 'group: gateway.networking.k8s.io'")
    }
    for (index, patch) in filter.configPatches.enumerated() {
      check(patch, path["configPatches"][index])
    }
  }

  private func check(_ patch: Patch, _ path: ConfigPath) {
    switch patch.applyTo {
    case .invalid:
      return check.error(path, "says what it is about: write 'applyTo', such as HTTP_FILTER")
    case .bootstrap:
      return check.error(
        path["applyTo"],
        "BOOTSTRAP is known to Istio, not supported by Fairlead: a bootstrap is read before a proxy "
          + "comes to the control plane, and is not sent to it")
    default: break
    }
    guard patch.hasPatch else {
      return check.error(path, "says what to change: write 'patch', with an 'operation'")
    }
    checkOperation(patch, path["patch"])
    checkMatch(patch, path["match"])
    checkValue(patch, path["patch"]["value"])
  }

  // MARK: Patch

  private func checkOperation(_ patch: Patch, _ path: ConfigPath) {
    let operation = patch.patch.operation
    guard operation != .invalid else {
      return check.error(path, "says what to do: write 'operation', such as MERGE or ADD")
    }
    if operation != .remove, !patch.patch.hasValue {
      check.error(path, "\(Self.name(operation)) puts a 'value' somewhere: write it")
    }
    let known = PatchSchema.operations(on: patch.applyTo)
    if !known.contains(operation) {
      let names = known.map(Self.name).joined(separator: ", ")
      check.warning(
        path["operation"],
        "\(Self.name(operation)) does nothing to \(Self.name(patch.applyTo)); what does: \(names)")
    }
    if patch.patch.filterClass != .unspecified,
      operation != .add || patch.applyTo != .httpFilter
    {
      check.warning(
        path["filterClass"], "says where ADD puts an HTTP_FILTER, and means nothing elsewhere")
    }
  }

  private func checkValue(_ patch: Patch, _ path: ConfigPath) {
    guard patch.patch.hasValue, let message = PatchSchema.message(for: patch.applyTo),
      let reading = PatchSchema.reader.read(patch.patch.value, as: message)
    else { return }
    for problem in reading.problems {
      let place = path.appending(problem.path)
      if problem.isError {
        check.error(place, problem.message)
      } else {
        check.warning(place, problem.message)
      }
    }
    if !PatchSchema.canUse(reading.bytes, for: patch.applyTo) {
      check.error(path, "is nested too deep")
    }
    if reading.bytes.isEmpty, reading.problems.isEmpty, patch.patch.operation != .remove {
      check.warning(path, "is empty: nothing follows from it")
    }
  }

  // MARK: Match

  private func checkMatch(_ patch: Patch, _ path: ConfigPath) {
    let match = patch.match
    if match.context == .waypoint {
      check.error(
        path["context"],
        "WAYPOINT is known to Istio, not supported by Fairlead: there are no waypoints")
    }
    if !match.proxy.proxyVersion.isEmpty {
      check.expression(match.proxy.proxyVersion, path["proxy"]["proxyVersion"])
    }
    guard let part = match.objectTypes else { return }
    let wanted: String
    switch patch.applyTo {
    case .listener, .filterChain, .networkFilter, .httpFilter, .listenerFilter: wanted = "listener"
    case .routeConfiguration, .virtualHost, .httpRoute: wanted = "routeConfiguration"
    case .cluster: wanted = "cluster"
    case .extensionConfig:
      return check.warning(
        path[Self.name(part)], "means nothing for EXTENSION_CONFIG, which has no place")
    case .bootstrap, .invalid, .UNRECOGNIZED: return
    }
    guard Self.name(part) == wanted else {
      return check.error(
        path[Self.name(part)],
        "\(Self.name(patch.applyTo)) is found by '\(wanted)', and not by '\(Self.name(part))'")
    }
    if case .listener(let listener) = part { checkListener(listener, patch, path["listener"]) }
  }

  private func checkListener(
    _ match: EnvoyFilter.ListenerMatch, _ patch: Patch, _ path: ConfigPath
  ) {
    if !match.portName.isEmpty {
      check.warning(
        path["portName"], "means nothing, here as in Istio: a listener is found by its 'portNumber'"
      )
    }
    if !match.listenerFilter.isEmpty {
      if patch.applyTo != .listenerFilter {
        check.warning(path["listenerFilter"], "means nothing but for LISTENER_FILTER")
      }
      checkName(match.listenerFilter, path["listenerFilter"])
    }
    guard match.hasFilterChain, match.filterChain.hasFilter else { return }
    let filter = match.filterChain.filter
    let place = path["filterChain"]["filter"]
    if [.listener, .filterChain, .listenerFilter].contains(patch.applyTo) {
      check.warning(place, "means nothing for \(Self.name(patch.applyTo))")
    }
    if filter.name.isEmpty {
      check.error(place, "a filter is found by its 'name': write it")
    } else {
      checkName(filter.name, place["name"])
    }
    guard filter.hasSubFilter else { return }
    let inner = place["subFilter"]
    if patch.applyTo != .httpFilter {
      check.error(inner, "is for HTTP_FILTER alone: remove it")
    } else if filter.name != Self.manager, filter.name != "envoy.http_connection_manager" {
      check.error(
        inner, "is one of the filters in \(Self.manager): write that as the filter's name")
    } else if filter.subFilter.name.isEmpty {
      check.error(inner, "an HTTP filter is found by its 'name': write it")
    } else {
      checkName(filter.subFilter.name, inner["name"])
    }
  }

  private static let manager = "envoy.filters.network.http_connection_manager"

  /// Envoy's first names for its filters, by which none is sent.
  private func checkName(_ name: String, _ path: ConfigPath) {
    guard name.hasPrefix("envoy."), !name.hasPrefix("envoy.filters.") else { return }
    check.warning(
      path,
      "'\(name)' is Envoy's former name, by which no filter is sent: names begin with 'envoy.filters.'"
    )
  }

  // MARK: Words

  private static func name(
    _ part: EnvoyFilter.EnvoyConfigObjectMatch.OneOf_ObjectTypes
  ) -> String {
    switch part {
    case .listener: "listener"
    case .routeConfiguration: "routeConfiguration"
    case .cluster: "cluster"
    case .waypoint: "waypoint"
    }
  }

  /// `INSERT_BEFORE`, as people write it.
  private static func name(_ operation: EnvoyFilter.Patch.Operation) -> String {
    words("\(operation)")
  }

  /// `HTTP_FILTER`, as people write it.
  private static func name(_ applyTo: EnvoyFilter.ApplyTo) -> String { words("\(applyTo)") }

  /// The name of a case in capitals, with its words apart.
  private static func words(_ name: String) -> String {
    name.reduce(into: "") { words, letter in
      if letter.isUppercase { words += "_" }
      words += letter.uppercased()
    }
  }
}
