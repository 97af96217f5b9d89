/// Bounds on what a configuration may say, beyond those that the API sets field by field.
package enum ConfigLimits {
  /// The longest duration: a hundred years. Longer ones are typing errors, and times that are
  /// added to a clock must not overflow 64 bits of nanoseconds.
  package static let durationSeconds: Int64 = 100 * 365 * 86_400
}
