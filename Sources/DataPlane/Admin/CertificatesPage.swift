import AdminHTTP
import CLinux
import HTTPModel
import TLS

/// `/certs`: every certificate in use, and for how long it holds.
struct CertificatesPage {
  let server: Server

  /// `envoy.admin.v3.Certificates`.
  var document: AdminJSON {
    let all = server.config.tls.all.compactMap { _, source -> AdminJSON? in
      guard let context = source.context else { return nil }
      let names = source.fileNames
      let own = context.certificates.enumerated().map { index, certificate in
        entry(
          certificate,
          path: names.certificates.indices.contains(index)
            ? names.certificates[index] ?? Self.inline : Self.inline)
      }
      // Envoy shows the first authority of a bundle.
      let authorities = context.authorities.prefix(1).map {
        entry($0, path: names.authority ?? Self.inline)
      }
      return AdminJSON.object([("ca_cert", .array(authorities)), ("cert_chain", .array(own))])
    }
    return .object([("certificates", .array(all))])
  }

  private static let inline = "<inline>"

  private func entry(_ certificate: CertificateFacts, path: String) -> AdminJSON {
    let names = certificate.names
    let alternatives =
      names.dns.map { ("dns", $0) } + names.uris.map { ("uri", $0) }
      + names.addresses.map { ("ip_address", $0) }
    return .object([
      ("path", .string(path)),
      ("serial_number", .string(text(certificate.serial))),
      (
        "subject_alt_names",
        .array(alternatives.map { .object([($0.0, .string(text($0.1)))]) })
      ),
      ("days_until_expiration", .string(String(Self.days(until: certificate.notAfter)))),
      ("valid_from", .string(Self.date(certificate.notBefore))),
      ("expiration_time", .string(Self.date(certificate.notAfter))),
    ])
  }

  private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

  /// Whole days that are left; none of one that has expired.
  static func days(until second: Int) -> Int {
    max(0, (second - Int(fl_realtime_ns() / 1_000_000_000)) / 86_400)
  }

  /// Days until the first certificate of any expires; nil when there is none.
  static func daysUntilFirst(in sources: TLSSources) -> Int? {
    sources.all.compactMap(\.source.context).flatMap { $0.certificates + $0.authorities }
      .map { days(until: $0.notAfter) }.min()
  }

  /// As RFC 3339 writes a time.
  static func date(_ second: Int, fraction: String = "") -> String {
    let day = HTTPDate.civil(fromDays: Int((Double(second) / 86_400).rounded(.down)))
    let rest = ((second % 86_400) + 86_400) % 86_400
    func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
    return "\(day.year)-\(two(day.month))-\(two(day.day))T"
      + "\(two(rest / 3600)):\(two(rest / 60 % 60)):\(two(rest % 60))\(fraction)Z"
  }
}
