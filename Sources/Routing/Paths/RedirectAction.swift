import Engine
import HTTPModel

/// Sends the client elsewhere: a compiled `envoy.config.route.v3.RedirectAction`.
package struct RedirectAction: BitwiseCopyable {
  package let status: UInt16
  /// nil: the request's.
  let scheme: Bytes?
  let host: Bytes?
  /// With its colon.
  let port: Bytes?
  let path: Bytes?
  let pathRewrite: PathRewrite
  let stripsQuery: Bool

  /// Writes the value of `location` for a request whose `:path` has been rewritten.
  func writeLocation(for headers: borrowing HeaderMap, into writer: inout ByteWriter) {
    let requestScheme = headers[.scheme] ?? Bytes("http")
    let scheme = self.scheme ?? requestScheme
    writer.append(scheme)
    writer.append("://")
    writer.append(host ?? requestHost(headers, scheme: scheme))
    if let port { writer.append(port) }
    writePath(headers[.path] ?? .empty, into: &writer)
  }

  /// `location` of an answer that names no other place: the request's own URI.
  static func writeOwnLocation(of headers: borrowing HeaderMap, into writer: inout ByteWriter) {
    writer.append(headers[.scheme] ?? Bytes("http"))
    writer.append("://")
    writer.append(headers[.authority] ?? .empty)
    writer.append(headers[.path] ?? .empty)
  }

  /// `location` for a virtual host that answers TLS only.
  static func writeTLSLocation(of headers: borrowing HeaderMap, into writer: inout ByteWriter) {
    writer.append("https://")
    writer.append(headers[.authority] ?? .empty)
    writer.append(headers[.path] ?? .empty)
  }

  /// The request's host. Its port goes when another one is set, or when it is the default port of
  /// a scheme that the redirect leaves.
  private func requestHost(_ headers: borrowing HeaderMap, scheme: Bytes) -> Bytes {
    let host = headers[.authority] ?? .empty
    guard let start = host.portStart else { return host }
    if port != nil { return host[0, start] }
    // What the connection was, and not what a request in absolute form said.
    let current = headers[.xForwardedProto] ?? headers[.scheme] ?? .empty
    guard !(scheme == current) else { return host }
    let portText = host.dropFirst(start)
    let isDefault =
      (current == "https" && portText == ":443") || (current == "http" && portText == ":80")
    return isDefault ? host[0, start] : host
  }

  private func writePath(_ requestPath: Bytes, into writer: inout ByteWriter) {
    guard let path else {
      return writer.append(stripsQuery ? requestPath.withoutQuery : requestPath)
    }
    writer.append(path)
    // A query of its own replaces the request's.
    guard path.withoutQuery.count == path.count, !stripsQuery else { return }
    writer.append(requestPath.dropFirst(requestPath.withoutQuery.count))
  }
}
