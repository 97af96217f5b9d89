import CYAML

/// The library that reads YAML.
package enum YAMLLibrary {
  /// Its name and version, of the copy that is in the process: `libyaml 0.2.5`.
  package static var version: String {
    let text = unsafe yaml_get_version_string().map { unsafe String(cString: $0) }
    return "libyaml \(text ?? "unknown")"
  }
}
