/// Who a workload is: a service account of a namespace of a trust domain, written
/// `spiffe://<trust domain>/ns/<namespace>/sa/<service account>` (SPIFFE-ID §2, with Istio's path).
package struct WorkloadIdentity: Hashable, Sendable {
  package let trustDomain: String
  package let namespace: String
  package let serviceAccount: String

  /// Nil when a part is none that Kubernetes, or SPIFFE, would take.
  package init?(trustDomain: String, namespace: String, serviceAccount: String) {
    guard Self.isTrustDomain(trustDomain), Self.isLabel(namespace),
      Self.isSubdomain(serviceAccount)
    else { return nil }
    self.trustDomain = trustDomain
    self.namespace = namespace
    self.serviceAccount = serviceAccount
  }

  /// Reads the name; nil when it is of another form.
  package init?(uri: String) {
    let parts = uri.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 7, parts[0] == "spiffe:", parts[1].isEmpty, parts[3] == "ns",
      parts[5] == "sa"
    else { return nil }
    self.init(trustDomain: parts[2], namespace: parts[4], serviceAccount: parts[6])
  }

  package var uri: String { "spiffe://\(trustDomain)/ns/\(namespace)/sa/\(serviceAccount)" }

  /// A trust domain as people write it: Istio puts a dot for the `@` that SPIFFE has no place for.
  package static func trustDomain(from text: String) -> String? {
    let name = String(text.map { $0 == "@" ? "." : $0 })
    return isTrustDomain(name) ? name : nil
  }

  /// SPIFFE-ID §2.1.
  private static func isTrustDomain(_ text: String) -> Bool {
    (1...255).contains(text.utf8.count)
      && text.utf8.allSatisfy { isLowerOrDigit($0) || $0 == dash || $0 == dot || $0 == underscore }
  }

  /// RFC 1123: what Kubernetes calls namespaces.
  static func isLabel(_ text: String) -> Bool {
    let bytes = Array(text.utf8)
    guard (1...63).contains(bytes.count), let first = bytes.first, let last = bytes.last else {
      return false
    }
    return isLowerOrDigit(first) && isLowerOrDigit(last)
      && bytes.allSatisfy { isLowerOrDigit($0) || $0 == dash }
  }

  /// Labels with dots between them: what Kubernetes calls service accounts.
  private static func isSubdomain(_ text: String) -> Bool {
    text.utf8.count <= 253
      && text.split(separator: ".", omittingEmptySubsequences: false)
        .allSatisfy { isLabel(String($0)) }
  }

  private static let dash = UInt8(ascii: "-")
  private static let dot = UInt8(ascii: ".")
  private static let underscore = UInt8(ascii: "_")

  private static func isLowerOrDigit(_ byte: UInt8) -> Bool {
    byte &- UInt8(ascii: "a") < 26 || byte &- UInt8(ascii: "0") < 10
  }
}
