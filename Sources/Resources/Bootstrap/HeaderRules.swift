import ResourceModel

/// Whatever carries header edits: the four levels of routing.
protocol HeaderEdits {
  var requestHeadersToAdd: [Envoy_Config_Core_V3_HeaderValueOption] { get }
  var responseHeadersToAdd: [Envoy_Config_Core_V3_HeaderValueOption] { get }
  var requestHeadersToRemove: [String] { get }
  var responseHeadersToRemove: [String] { get }
}

extension Envoy_Config_Route_V3_RouteConfiguration: HeaderEdits {}
extension Envoy_Config_Route_V3_VirtualHost: HeaderEdits {}
extension Envoy_Config_Route_V3_Route: HeaderEdits {}
extension Envoy_Config_Route_V3_WeightedCluster.ClusterWeight: HeaderEdits {}

/// Which headers an edit may touch. The pseudo-headers and the host decide where a request goes:
/// routes have fields of their own for them.
struct HeaderRules {
  let diagnostics: Diagnostics

  /// Reports edits that are not allowed.
  func check(_ edits: some HeaderEdits, at path: ConfigPath) {
    check(edits.requestHeadersToAdd, at: path.field("request_headers_to_add"))
    check(edits.responseHeadersToAdd, at: path.field("response_headers_to_add"))
    checkRemoved(edits.requestHeadersToRemove, at: path.field("request_headers_to_remove"))
    checkRemoved(edits.responseHeadersToRemove, at: path.field("response_headers_to_remove"))
  }

  private func check(_ options: [Envoy_Config_Core_V3_HeaderValueOption], at path: ConfigPath) {
    for (position, option) in options.enumerated() {
      let at = path.index(position)
      if isProtected(option.header.key) {
        diagnostics.error(
          at: at.field("header").field("key"), "headers that start with ':' and host may not be set"
        )
      }
      if option.hasAppend, option.appendAction != .appendIfExistsOrAdd {
        diagnostics.error(
          at: at.field("append_action"), "cannot be set together with 'append'")
      }
    }
  }

  private func checkRemoved(_ names: [String], at path: ConfigPath) {
    for (position, name) in names.enumerated() where isProtected(name) {
      diagnostics.error(
        at: path.index(position), "headers that start with ':' and host may not be removed")
    }
  }

  private func isProtected(_ name: String) -> Bool {
    name.hasPrefix(":") || name.lowercased() == "host"
  }
}
