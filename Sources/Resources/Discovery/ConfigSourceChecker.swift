import Glibc
import ResourceModel

/// Checks where resources are to come from.
package struct ConfigSourceChecker {
  let diagnostics: Diagnostics

  package init(diagnostics: Diagnostics) { self.diagnostics = diagnostics }

  /// Reports what cannot work: as in Envoy, a file to follow has to be there from the start.
  package func check(_ source: Envoy_Config_Core_V3_ConfigSource, at path: ConfigPath) {
    guard case .pathConfigSource(let file)? = source.configSourceSpecifier else {
      if source.configSourceSpecifier != nil {
        diagnostics.error(
          at: path.field("ads"), "only fairlead-control takes this so far; use path_config_source")
      }
      return
    }
    let place = path.field("path_config_source").field("path")
    guard !diagnostics.hasError(at: place), unsafe access(file.path, F_OK) != 0 else { return }
    diagnostics.error(at: place, "'\(file.path)' does not exist")
  }
}
