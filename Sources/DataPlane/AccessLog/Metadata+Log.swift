import Engine
import Telemetry

extension Metadata {
  /// What `%DYNAMIC_METADATA(space:key)%` shows.
  func logValue(_ kind: LogMetadata, _ path: LogPath) -> LogValue {
    guard kind == .dynamic else { return .absent }
    var space = Bytes.empty
    var key = Bytes.empty
    var parts = 0
    path.visitParts { part in
      if parts == 0 { space = Bytes(part) } else if parts == 1 { key = Bytes(part) }
      parts += 1
    }
    guard parts == 2, let found = value(space, key) else { return .absent }
    return found.isFlag ? .json(LogBytes(found.text)) : .bytes(LogBytes(found.text))
  }
}
