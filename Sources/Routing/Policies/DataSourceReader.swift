import CLinux
import ResourceModel
import Resources

/// Reads what a `DataSource` of the configuration points at, once, while loading.
package enum DataSourceReader {
  /// Its bytes; nil, and a diagnostic, when they cannot be had or are more than `limit`.
  package static func read(
    _ source: Envoy_Config_Core_V3_DataSource, atMost limit: Int, at path: ConfigPath,
    _ diagnostics: Diagnostics
  ) -> [UInt8]? {
    var bytes: [UInt8] = []
    var place = path
    switch source.specifier {
    case .inlineString(let text):
      bytes = Array(text.utf8)
      place = path.field("inline_string")
    case .inlineBytes(let data):
      bytes = Array(data)
      place = path.field("inline_bytes")
    case .filename(let name):
      place = path.field("filename")
      switch FileReader.read(name, atMost: limit) {
      case .success(let content): bytes = content
      case .failure(let error):
        diagnostics.error(at: place, error.message)
        return nil
      }
    case .environmentVariable(let name):
      place = path.field("environment_variable")
      // SAFETY: nothing changes the environment while the configuration loads.
      guard let value = unsafe getenv(name) else {
        diagnostics.error(at: place, "there is no environment variable '\(name)'")
        return nil
      }
      bytes = unsafe Array(String(cString: value).utf8)
    case nil: break
    }
    guard bytes.count <= limit else {
      diagnostics.error(at: place, "\(bytes.count) bytes, which is more than the limit of \(limit)")
      return nil
    }
    return bytes
  }
}
