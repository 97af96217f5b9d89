import Glibc
import ResourceModel

/// Checks where resources are to come from, as far as that can be told without knowing any cluster.
package struct ConfigSourceChecker {
  let diagnostics: Diagnostics
  /// The bootstrap says where the control plane is.
  let hasADS: Bool

  package init(diagnostics: Diagnostics, hasADS: Bool) {
    self.diagnostics = diagnostics
    self.hasADS = hasADS
  }

  /// Reports what cannot work: as in Envoy, a file to follow has to be there from the start, and whoever
  /// asks the control plane has to have one.
  package func check(_ source: Envoy_Config_Core_V3_ConfigSource, at path: ConfigPath) {
    switch source.configSourceSpecifier {
    case .pathConfigSource(let file):
      let place = path.field("path_config_source").field("path")
      guard !diagnostics.hasError(at: place), unsafe access(file.path, F_OK) != 0 else { return }
      diagnostics.error(at: place, "'\(file.path)' does not exist")
    case .ads:
      guard !hasADS else { return }
      diagnostics.error(
        at: path.field("ads"), "the bootstrap has no dynamic_resources.ads_config to lead to")
    case .apiConfigSource, nil: return
    }
  }
}
