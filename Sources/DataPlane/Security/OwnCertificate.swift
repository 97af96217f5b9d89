import CLinux
import Engine
import GRPC
import IdentityClient
import Resources
import Telemetry

/// The process's own certificate: asked for of a certificate authority, renewed in time, kept in a
/// directory, whose files the configuration names like any others, and told to those who follow it as a
/// secret (`OwnSecretSubscription`). Belongs to one loop.
package final class OwnCertificate {
  /// What the command line says.
  package struct Options: Sendable {
    /// An IP address and a port.
    package var address: String
    package var port: UInt16
    /// What the authority's own certificate has to name.
    package var name: String
    package var rootPath: String
    package var tokenPath: String
    /// Where `key.pem`, `cert-chain.pem` and `root-cert.pem` are written (Istio: `OUTPUT_CERTS`).
    package var directory: String
    /// Seconds that a certificate is to last; 0 leaves that to the authority.
    package var seconds = 0

    package init(
      address: String, port: UInt16, name: String, rootPath: String, tokenPath: String,
      directory: String
    ) {
      self.address = address
      self.port = port
      self.name = name
      self.rootPath = rootPath
      self.tokenPath = tokenPath
      self.directory = directory
    }
  }

  private let options: Options
  private let client: IdentityClient
  /// A certificate lies in the directory that holds now.
  private var isThere = false
  /// Why one that was issued does not.
  private var flaw: FileError?

  /// Who is told of each certificate, by their numbers.
  private var followers: [Int: (IdentityClient.Issued) -> Void] = [:]
  private var followerCount = 0

  /// A file of certificates or a key.
  private static let fileBytes = 1024 * 1024

  package init(_ options: Options, on loop: EventLoop) {
    self.options = options
    var asked = IdentityClient.Options(
      address: SocketAddress(ip: options.address, port: options.port) ?? SocketAddress(),
      name: options.name, rootPath: options.rootPath, tokenPath: options.tokenPath)
    asked.seconds = options.seconds
    client = IdentityClient(asked, RPCRuntime(loop: loop))
  }

  /// Waits until there is a certificate: what the configuration names has to be there when it is read.
  /// Throws a sentence when it cannot be kept.
  package static func obtain(_ options: Options) throws(FileError) {
    let loop = EventLoop()
    let own = OwnCertificate(options, on: loop)
    own.start()
    while !own.isThere, own.flaw == nil { loop.turn(waitAtMost: 1000) }
    own.client.stop()
    // What closing deferred.
    for _ in 0..<2 { loop.turn(waitAtMost: 0) }
    if let flaw = own.flaw { throw flaw }
  }

  /// Goes on with what lies in the directory, or begins to ask.
  package func start() {
    client.onIssued = { [unowned self] in keep($0) }
    client.onProblem = {
      ProcessLog.shared.warning(.secret, "no certificate from the authority: \($0)")
    }
    guard let known, known.facts.notAfter > Int(time(nil)) else { return client.start() }
    isThere = true
    client.start(with: known)
  }

  /// Has `body` told of the certificate there is, and of each that comes, until `leave`.
  func follow(_ body: @escaping (IdentityClient.Issued) -> Void) -> Int {
    followerCount += 1
    followers[followerCount] = body
    if let issued = client.issued { body(issued) }
    return followerCount
  }

  func leave(_ number: Int) { followers[number] = nil }

  private var known: IdentityClient.Issued? {
    func read(_ name: String) -> [UInt8]? {
      try? FileReader.read("\(options.directory)/\(name)", atMost: Self.fileBytes).get()
    }
    guard let key = read("key.pem"), let chain = read("cert-chain.pem"),
      let roots = read("root-cert.pem")
    else { return nil }
    return IdentityClient.make(chain: chain, key: key, roots: roots)
  }

  private func keep(_ issued: IdentityClient.Issued) {
    let name = issued.facts.names.uris.first.map { String(decoding: $0, as: UTF8.self) } ?? ""
    do throws(FileError) {
      let directory = options.directory
      try PrivateFile.makeDirectory(directory)
      try PrivateFile.write("\(directory)/root-cert.pem", issued.roots, isPublic: true)
      try PrivateFile.write("\(directory)/key.pem", issued.key)
      try PrivateFile.write("\(directory)/cert-chain.pem", issued.chain, isPublic: true)
      isThere = true
      ProcessLog.shared.info(.secret, "certificate of '\(name)' issued by the authority")
    } catch {
      flaw = error
      ProcessLog.shared.error(.secret, "the certificate cannot be kept: \(error.message)")
    }
    for (_, body) in followers.sorted(by: { $0.key < $1.key }) { body(issued) }
  }
}
