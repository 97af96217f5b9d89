import CNghttp2

/// The library that speaks HTTP/2.
package enum HTTP2Library {
  /// Its name and version, of the copy that is in the process: `nghttp2 1.52.0`.
  package static var version: String {
    // SAFETY: a constant of the library's own.
    let text = unsafe nghttp2_version(0)?.pointee.version_str.map { unsafe String(cString: $0) }
    return "nghttp2 \((text ?? nil) ?? "unknown")"
  }
}
