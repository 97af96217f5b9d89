/// What the command line says: `--name value`, a few times.
struct Options {
  var host = "127.0.0.1"
  var port: UInt16 = 15010
  /// How many proxies.
  var proxies = 200
  /// `sotw`, `delta`, or `both`, where every other proxy has the other variant.
  var variant = "both"
  /// Namespaces, among which proxies are spread.
  var namespaces = 10
  /// The directory in which endpoints are changed; empty for no changes.
  var directory = ""
  var changes = 50
  /// Services whose endpoints are changed, in turn.
  var services = 1000
  /// Seconds after which proxies that are not in sync are given up.
  var patience = 60

  /// Nil when something is not understood.
  init?(_ words: ArraySlice<String>) {
    var words = words
    while let name = words.popFirst() {
      guard let value = words.popFirst() else { return nil }
      switch name {
      case "--host": host = value
      case "--port": port = UInt16(value) ?? port
      case "--proxies": proxies = Int(value) ?? proxies
      case "--variant": variant = value
      case "--namespaces": namespaces = max(1, Int(value) ?? namespaces)
      case "--directory": directory = value
      case "--changes": changes = Int(value) ?? changes
      case "--services": services = max(1, Int(value) ?? services)
      case "--patience": patience = Int(value) ?? patience
      default: return nil
      }
    }
  }
}
