/// Every bound on what callers can make the certificate authority do, and how long things last.
package enum IdentityLimits {
  /// A certificate request in PEM: one with an RSA key of 4096 bits takes two kilobytes.
  package static let requestBytes = 16 * 1024

  /// What follows `Bearer`: Kubernetes' tokens take about one kilobyte.
  package static let tokenBytes = 16 * 1024

  /// A file of certificates, keys, or JSON web keys.
  package static let fileBytes = 1024 * 1024

  /// Keys of one issuer: they are tried one after the other where a token does not say which.
  package static let issuerKeys = 32

  /// How long a certificate lasts when nobody says otherwise, and at most (Istio: the same).
  package static let defaultSeconds = 86_400
  package static let mostSeconds = 90 * 86_400

  /// A certificate holds from before it was made, for those whose clocks are late (Istio: the same).
  package static let backdatedSeconds = 120

  /// How far an issuer's clock may be from ours.
  package static let clockSkewSeconds = 60

  /// How long our own root lasts (Istio: the same).
  package static let rootSeconds = 10 * 365 * 86_400

  /// How long a join token is good for when nobody says otherwise, and at most.
  package static let joinSeconds = 3600
  package static let mostJoinSeconds = 365 * 86_400

  /// Bytes of what a caller says, as the log repeats it.
  static let loggedBytes = 200
}
