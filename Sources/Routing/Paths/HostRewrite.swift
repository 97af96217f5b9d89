import Engine
import HTTPModel

/// How a route changes the authority that the upstream sees.
package enum HostRewrite: BitwiseCopyable {
  case none
  case literal(Bytes)
  /// The name of the chosen host, once there is one: the router calls `replaceAuthority` then.
  case automatic
  /// The value of a field, if it is there and not empty.
  case header(HeaderName)
  /// The path without its query, every match of an expression replaced.
  case pathRegex(Regex.Substitution)

  /// Changes `:authority`, unless the new value is not known yet.
  func apply(
    to headers: inout HeaderMap, appendsForwardedHost: Bool, recordsOriginal: Bool,
    pool: inout BlockPool
  ) {
    switch self {
    case .none, .automatic: break
    case .literal(let host):
      Self.replaceAuthority(
        of: &headers, with: host, appendsForwardedHost: appendsForwardedHost,
        recordsOriginal: recordsOriginal, pool: &pool)
    case .header(let name):
      guard let value = name.first(in: headers), !value.isEmpty else { return }
      // The view into the map would not survive its changes.
      let copy = pool.take(max(value.count, BlockPool.smallest))
      defer { pool.release(copy) }
      _ = copy.append(value)
      Self.replaceAuthority(
        of: &headers, with: copy.bytes(), appendsForwardedHost: appendsForwardedHost,
        recordsOriginal: recordsOriginal, pool: &pool)
    case .pathRegex(let substitution):
      guard let path = headers[.path]?.withoutQuery else { return }
      let block = pool.take(path.count &+ BlockPool.smallest)
      defer { pool.release(block) }
      guard substitution.replaceAll(in: path, appendingTo: block) else { return }
      Self.replaceAuthority(
        of: &headers, with: block.bytes(), appendsForwardedHost: appendsForwardedHost,
        recordsOriginal: recordsOriginal, pool: &pool)
    }
  }

  /// Sets `:authority`, keeping the old one in `x-forwarded-host` and `x-envoy-original-host` as
  /// asked. `host` must not be a view into `headers`.
  package static func replaceAuthority(
    of headers: inout HeaderMap, with host: Bytes, appendsForwardedHost: Bool,
    recordsOriginal: Bool, pool: inout BlockPool
  ) {
    if let old = headers[.authority], !old.isEmpty {
      if appendsForwardedHost, !isLastForwarded(old, in: headers) {
        headers.append(.xForwardedHost, separator: ",", old, from: &pool)
      }
      if recordsOriginal, let old = headers[.authority] {
        headers.set(.envoyOriginalHost, old, from: &pool)
      }
    }
    headers.set(.authority, host, from: &pool)
  }

  /// A proxy that saw the request before may have said the same.
  private static func isLastForwarded(_ host: Bytes, in headers: borrowing HeaderMap) -> Bool {
    guard let forwarded = headers[.xForwardedHost] else { return false }
    var start = 0
    while let comma = forwarded.firstIndex(of: UInt8(ascii: ","), from: start) {
      start = comma &+ 1
    }
    return forwarded.dropFirst(start) == host
  }
}
