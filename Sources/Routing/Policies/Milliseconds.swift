import SwiftProtobuf

extension Google_Protobuf_Duration {
  /// In milliseconds, rounded down; the reader allows no negative ones and none beyond a century.
  package var milliseconds: UInt64 {
    UInt64(max(seconds, 0)) &* 1000 &+ UInt64(max(nanos, 0) / 1_000_000)
  }
}
