/// What the certificate authority counts, under Istio's names.
package struct IdentityCounters: Sendable, Equatable {
  /// Requests for a certificate.
  package var requests: UInt64 = 0
  package var issued: UInt64 = 0
  package var unreadableRequests: UInt64 = 0
  /// Callers of whatever method that could not say who they are.
  package var authenticationFailures: UInt64 = 0
  /// Requests whose times could not be kept.
  package var signingFailures: UInt64 = 0
  /// Proxies that called themselves something other than they are.
  package var foreignNodes: UInt64 = 0
  /// Connections that did not come about: no TLS, a certificate that nobody vouches for.
  package var refusedConnections: UInt64 = 0
  package var rootRotations: UInt64 = 0
  package var reloads: UInt64 = 0
  package var refusedReloads: UInt64 = 0
  /// When things end, in seconds since 1970.
  package var rootExpiry = 0
  package var chainExpiry = 0

  package init() {}

  /// All of them with their names, for a page of metrics.
  package var all: [(name: String, value: UInt64)] {
    [
      ("citadel_server_csr_count", requests),
      ("citadel_server_success_cert_issuance_count", issued),
      ("citadel_server_csr_parsing_err_count", unreadableRequests),
      ("citadel_server_authentication_failure_count", authenticationFailures),
      ("citadel_server_csr_sign_err_count", signingFailures),
      ("citadel_server_root_cert_expiry_timestamp", UInt64(max(0, rootExpiry))),
      ("citadel_server_cert_chain_expiry_timestamp", UInt64(max(0, chainExpiry))),
      ("fairlead_identity_foreign_node_count", foreignNodes),
      ("fairlead_identity_refused_connection_count", refusedConnections),
      ("fairlead_identity_root_rotation_count", rootRotations),
      ("fairlead_identity_reload_count", reloads),
      ("fairlead_identity_refused_reload_count", refusedReloads),
    ]
  }
}
