import Engine
import HTTPModel

/// How a route changes the path, query aside.
package enum PathRewrite: BitwiseCopyable {
  case none
  /// Replaces what the route's pattern matched: its prefix, or the whole path.
  case prefix(Bytes)
  /// Replaces every match of an expression.
  case regex(Regex.Substitution)

  /// Changes `:path`, of a request that `pattern` matched. False when the new path is longer than
  /// any head may be.
  func apply(
    matchedBy pattern: PathPattern, to headers: inout HeaderMap, recordsOriginal: Bool,
    pool: inout BlockPool
  ) -> Bool {
    if case .none = self { return true }
    guard let index = headers.find(.path) else { return true }
    var size = headers.value(index).count &+ BlockPool.smallest
    while size <= BlockPool.largest {
      let block = pool.take(size)
      defer { pool.release(block) }
      if write(headers.value(index), matchedBy: pattern, into: block) {
        if recordsOriginal {
          headers.set(.envoyOriginalPath, headers.value(index), from: &pool)
        }
        headers.replace(index, block.bytes(), from: &pool)
        return true
      }
      size = block.capacity &* 2
    }
    return false
  }

  /// Writes the new form of `path`. False when it does not fit.
  private func write(_ path: Bytes, matchedBy pattern: PathPattern, into block: Block) -> Bool {
    let segments = path.withoutQuery
    var rest = path.dropFirst(segments.count)
    switch self {
    case .none: return false
    case .regex(let substitution):
      guard substitution.replaceAll(in: segments, appendingTo: block) else { return false }
    case .prefix(let replacement):
      guard block.append(replacement) == replacement.count else { return false }
      switch pattern {
      case .exact, .regex: break
      case .prefix(let prefix), .separatedPrefix(let prefix):
        rest = path.dropFirst(min(prefix.count, segments.count))
      }
    }
    return block.append(rest) == rest.count
  }
}

extension Bytes {
  /// A path up to its question mark.
  package var withoutQuery: Bytes {
    firstIndex(of: UInt8(ascii: "?")).map { self[0, $0] } ?? self
  }
}
