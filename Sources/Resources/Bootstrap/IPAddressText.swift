import Glibc

/// IP addresses as people write them.
package enum IPAddressText {
  /// Whether a text is an IPv4 or IPv6 address, without port or brackets.
  package static func isValid(_ text: String) -> Bool {
    // A scope (`fe80::1%eth0`) is no part of the address itself.
    let address = text.split(separator: "%", maxSplits: 1).first.map(String.init) ?? ""
    // SAFETY: both structs are large enough for their family.
    var four = in_addr()
    var six = in6_addr()
    let isFour = unsafe inet_pton(AF_INET, text, &four) == 1
    let isSix = unsafe inet_pton(AF_INET6, address, &six) == 1
    return isFour || isSix
  }
}
