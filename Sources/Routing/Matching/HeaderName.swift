import Engine
import HTTPModel

/// The name of a field, ready to be looked up.
package struct HeaderName: BitwiseCopyable {
  package let text: Bytes
  package let id: HeaderID

  /// Names are compared in lower case.
  package init(_ name: String) {
    text = .configured(name.lowercased())
    id = HeaderID.of(text)
  }

  /// As in a request's head, where `host` is called `:authority`.
  package static func ofRequest(_ name: String) -> HeaderName {
    let name = HeaderName(name)
    return name.id == .host ? HeaderName(":authority") : name
  }

  /// The first value in `headers`.
  @inline(__always)
  package func first(in headers: borrowing HeaderMap) -> Bytes? {
    guard let index = headers.find(text, id: id) else { return nil }
    return headers.value(index)
  }
}
