public import CFilterABI

/// Where a statistic's name is put.
@frozen
public enum StatisticScope: UInt32 {
  case root = 0
  /// `http.<stat_prefix>.` of the connection manager.
  case connectionManager = 1
}

/// A counter defined while loading; count with `StreamContext.add`.
@frozen
public struct Counter: BitwiseCopyable {
  @usableFromInline let raw: fl_stat
  @inlinable init(_ raw: fl_stat) { self.raw = raw }
}

/// A gauge defined while loading. Whoever raises it lowers it again, at the latest in `onEnd`.
@frozen
public struct Gauge: BitwiseCopyable {
  @usableFromInline let raw: fl_stat
  @inlinable init(_ raw: fl_stat) { self.raw = raw }
}

/// A histogram defined while loading.
@frozen
public struct Histogram: BitwiseCopyable {
  @usableFromInline let raw: fl_stat
  @inlinable init(_ raw: fl_stat) { self.raw = raw }
}

/// A runtime key defined while loading; read with `StreamContext.runtime`.
@frozen
public struct RuntimeKey: BitwiseCopyable {
  @usableFromInline let raw: UInt32
  @inlinable init(_ raw: UInt32) { self.raw = raw }
}

/// A share of requests (`FractionalPercent`).
@frozen
public struct Share: BitwiseCopyable, Equatable {
  /// In millionths, the finest that Envoy knows; at most a million.
  public let millionths: UInt32

  /// A share in percent; what is beyond 0 and 100 counts as these.
  @inlinable public init(percent: Double) {
    // `min` and `max` written so that a NaN becomes 0.
    millionths = percent > 0 ? UInt32(min(percent, 100) * 10_000 + 0.5) : 0
  }

  @inlinable public static var none: Share { Share(percent: 0) }
  @inlinable public static var all: Share { Share(percent: 100) }

  @inlinable public var isNone: Bool { millionths == 0 }
  @inlinable public var isAll: Bool { millionths == 1_000_000 }
  @inlinable public var percent: Double { Double(millionths) / 10_000 }

  /// Whether these random bits fall within the share.
  @inlinable public func admits(_ random: UInt64) -> Bool { random % 1_000_000 < millionths }
}

/// A share that a runtime key may override (`RuntimeFractionalPercent`); its number is in percent.
@frozen
public struct RuntimeShare: BitwiseCopyable {
  public let fallback: Share
  public let key: RuntimeKey?

  @inlinable public init(fallback: Share, key: RuntimeKey? = nil) {
    self.fallback = fallback
    self.key = key
  }
}
