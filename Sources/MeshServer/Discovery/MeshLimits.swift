/// Every bound on what one client can make the control plane hold.
enum MeshLimits {
  /// Names of secrets that a stream was refused and that are shown.
  static let refusedSecrets = 16

  /// Names of Secrets that one stream may ask for: more certificates than any gateway has.
  static let secretsPerStream = 10_000

  /// Types on one stream: xDS has about a dozen, and each costs a subscription.
  static let typesPerStream = 32

  /// Names that one stream may subscribe to, of all types: ten times the clusters of the largest mesh
  /// we know of.
  static let namesPerStream = 100_000

  /// Bytes of what a client says, as the log repeats it.
  static let loggedBytes = 1000
}
