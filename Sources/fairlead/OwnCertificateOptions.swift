import ArgumentParser
import DataPlane
import Engine

/// What the command line says of the process's own certificate.
struct OwnCertificateOptions: ParsableArguments {
  @Option(
    help: """
      Certificate authority, an IP address and a port: asks it for a certificate, and renews that at half \
      of its life. Needs --ca-root-path, --ca-token-path and --cert-dir.
      """)
  var caAddress: String?

  @Option(
    help: "What the authority's own certificate has to name; the address by default.")
  var caName: String?

  @Option(help: "File with the root certificates that the authority is believed by.")
  var caRootPath: String?

  @Option(help: "File with the token to show while there is no certificate.")
  var caTokenPath: String?

  @Option(
    help: """
      Where key.pem, cert-chain.pem and root-cert.pem are written, before the configuration is read.
      """)
  var certDir: String?

  @Option(help: "Seconds that a certificate is to last; the authority decides by default.")
  var certTtlS = 0

  func validate() throws {
    let needed = [caRootPath, caTokenPath, certDir]
    guard let caAddress else {
      guard needed.allSatisfy({ $0 == nil }), caName == nil, certTtlS == 0 else {
        throw ValidationError(
          "--ca-name, --ca-root-path, --ca-token-path, --cert-dir and --cert-ttl-s need --ca-address"
        )
      }
      return
    }
    guard needed.allSatisfy({ $0 != nil }) else {
      throw ValidationError("--ca-address needs --ca-root-path, --ca-token-path and --cert-dir")
    }
    guard Self.address(caAddress) != nil else {
      throw ValidationError("'\(caAddress)' is no address; expected one such as 127.0.0.1:15012")
    }
    guard (0...7_776_000).contains(certTtlS) else {
      throw ValidationError("--cert-ttl-s is not between 0 and 7776000")
    }
  }

  /// Nil when the process gets no certificate.
  var options: OwnCertificate.Options? {
    guard let caAddress, let (ip, port) = Self.address(caAddress), let caRootPath, let caTokenPath,
      let certDir
    else { return nil }
    var options = OwnCertificate.Options(
      address: ip, port: port, name: caName ?? ip, rootPath: caRootPath, tokenPath: caTokenPath,
      directory: certDir)
    options.seconds = certTtlS
    return options
  }

  /// `1.2.3.4:80`, `[::1]:80`.
  private static func address(_ text: String) -> (ip: String, port: UInt16)? {
    guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...])
    else { return nil }
    var ip = text[..<colon]
    if ip.hasPrefix("["), ip.hasSuffix("]") { ip = ip.dropFirst().dropLast() }
    guard let address = SocketAddress(ip: String(ip), port: port) else { return nil }
    return (address.ip, port)
  }
}
