import ResourceModel

/// Finds the mistakes that no single field shows.
package struct BootstrapValidator {
  let diagnostics: Diagnostics

  /// Reports everything that does not fit together.
  package func validate(_ bootstrap: Envoy_Config_Bootstrap_V3_Bootstrap) {
  }
}
