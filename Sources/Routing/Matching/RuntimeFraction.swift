import ResourceModel

/// A share of requests. Runtime overrides are applied when it is compiled: layers are static, so
/// what they say cannot change while the table lives.
package struct RuntimeFraction: BitwiseCopyable {
  private let numerator: UInt64
  private let denominator: UInt64

  package init(_ message: Envoy_Type_V3_FractionalPercent) {
    numerator = UInt64(message.numerator)
    switch message.denominator {
    case .tenThousand: denominator = 10_000
    case .million: denominator = 1_000_000
    case .hundred, .UNRECOGNIZED: denominator = 100
    }
  }

  /// The runtime's value for the key, or else the default.
  package init(
    _ message: Envoy_Config_Core_V3_RuntimeFractionalPercent, runtime: RuntimeSnapshot
  ) {
    let override = message.runtimeKey.isEmpty ? nil : runtime.fraction(message.runtimeKey)
    self.init(override ?? message.defaultValue)
  }

  /// Whether the request with this random number is in the share.
  @inline(__always)
  package func includes(_ random: UInt64) -> Bool { random % denominator < numerator }
}

/// What the runtime's layers say, for those who compile tables.
package struct RuntimeSnapshot {
  /// The share under a key; a plain number is in hundredths.
  package let fraction: (String) -> Envoy_Type_V3_FractionalPercent?
  /// The number under a key.
  package let integer: (String) -> UInt64?

  package init(
    fraction: @escaping (String) -> Envoy_Type_V3_FractionalPercent? = { _ in nil },
    integer: @escaping (String) -> UInt64? = { _ in nil }
  ) {
    self.fraction = fraction
    self.integer = integer
  }
}
