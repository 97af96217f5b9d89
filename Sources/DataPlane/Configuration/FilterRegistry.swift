import CFilterABI

/// The HTTP filters that a configuration may name, by the type of their configuration.
package struct FilterRegistry {
  @safe
  struct Entry {
    let table: UnsafePointer<fl_filter>
  }

  private(set) var entries: [String: Entry] = [:]

  package init() {}

  /// Makes a filter available under the full name of its configuration's message.
  /// - Parameter open: offers the filter our table of functions, and returns the filter's own, or
  ///   NULL when it cannot work with ours: what a shared object's entry does.
  package mutating func register(
    _ type: String, _ open: (UnsafePointer<fl_host>) -> UnsafePointer<fl_filter>?
  ) {
    let table = unsafe open(UnsafePointer(FilterHost.table.pointer))
    guard let table = unsafe table else { preconditionFailure("\(type) works with this host") }
    unsafe entries[type] = Entry(table: table)
  }

  static let router = "envoy.extensions.filters.http.router.v3.Router"
  static let timeout = "fairlead.filters.http.timeout.v1.Timeout"
  static let retry = "fairlead.filters.http.retry.v1.Retry"

  /// The message's full name in an `Any`'s type URL.
  static func typeName(of url: String) -> String {
    url.lastIndex(of: "/").map { String(url[url.index(after: $0)...]) } ?? url
  }
}
