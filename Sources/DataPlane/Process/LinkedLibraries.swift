import HTTPCodec
import Resources
import TLS
import Upstream

/// The libraries of others that read what strangers send: their fixes reach us by rebuilding only, so
/// one has to see which are in.
package enum LinkedLibraries {
  /// The one that speaks TLS.
  package static var tls: String { TLSLibrary.version }

  /// All that know their version.
  package static var all: String {
    [tls, HTTP2Library.version, DNSResolver.libraryVersion, YAMLLibrary.version]
      .joined(separator: ", ")
  }
}
