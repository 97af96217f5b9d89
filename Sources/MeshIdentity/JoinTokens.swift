import Resources
import TLS

/// Tokens that let a workload in which has nothing else to show: an operator makes one and hands it over.
///
/// A token reads `join.<id>.<secret>`. What is kept of it is a file named after the id, with the secret's
/// SHA-256, so that who reads the directory can impersonate nobody. A token that is good once is spent by
/// taking its file away, which only one process can succeed at, also where several share the directory.
package struct JoinTokens: Sendable {
  /// What one token stands for.
  package struct Entry: Equatable {
    var identity: WorkloadIdentity
    /// Seconds since 1970.
    var expires: Int
    /// It stays good for as long as it has not expired.
    var isReusable: Bool
    var digest: [UInt8]
  }

  /// Why a token is not taken.
  enum Doubt: Error, Equatable {
    /// Never made, spent, or taken away.
    case unknown
    case expired
  }

  private let directory: String

  /// Bytes of an id, and of a secret: nobody guesses either.
  private static let idBytes = 9
  private static let secretBytes = 32
  static let prefix = "join"

  /// - Parameter directory: made when the first token is.
  package init(in directory: String) { self.directory = directory }

  // MARK: Making

  /// Makes a token and returns it; nowhere else is it written.
  package func make(
    for identity: WorkloadIdentity, lasting seconds: Int, isReusable: Bool, at now: Int
  ) throws(FileError) -> String {
    let id = Base64URL.encode(SecureRandom.bytes(Self.idBytes))
    let secret = SecureRandom.bytes(Self.secretBytes)
    guard id.utf8.count == 12, secret.count == Self.secretBytes else {
      throw FileError(message: "there is no randomness to be had")
    }
    let entry = Entry(
      identity: identity, expires: now + seconds, isReusable: isReusable,
      digest: Digest.sha256(secret))
    try PrivateFile.makeDirectory(directory)
    try PrivateFile.write(path(of: id), Array(Self.text(entry).utf8))
    return "\(Self.prefix).\(id).\(Base64URL.encode(secret))"
  }

  // MARK: Looking

  /// The id of a token that looks like one of ours, and its secret.
  package static func parts(of token: String) -> (id: String, secret: [UInt8])? {
    guard token.utf8.count <= IdentityLimits.tokenBytes else { return nil }
    let parts = token.split(separator: ".", omittingEmptySubsequences: false)
    // The id becomes a file's name: nothing but the letters that we make it of.
    guard parts.count == 3, parts[0] == prefix,
      Base64URL.decode(parts[1])?.count == idBytes,
      let secret = Base64URL.decode(parts[2]), secret.count == secretBytes
    else { return nil }
    return (String(parts[1]), secret)
  }

  /// What a token stands for.
  func look(up token: String, at now: Int) throws(Doubt) -> (id: String, entry: Entry) {
    guard let (id, secret) = Self.parts(of: token), let entry = entry(of: id),
      Self.isSame(Digest.sha256(secret), entry.digest)
    else { throw .unknown }
    guard now < entry.expires else {
      _ = PrivateFile.remove(path(of: id))
      throw .expired
    }
    return (id, entry)
  }

  /// Uses a token up; false when somebody was faster.
  func spend(_ id: String) -> Bool { PrivateFile.remove(path(of: id)) }

  /// Compares without telling by the time it takes how far it came.
  private static func isSame(_ a: [UInt8], _ b: [UInt8]) -> Bool {
    guard a.count == b.count else { return false }
    return zip(a, b).reduce(0) { $0 | ($1.0 ^ $1.1) } == 0
  }

  // MARK: Files

  private func path(of id: String) -> String { "\(directory)/\(id)" }

  private func entry(of id: String) -> Entry? {
    guard case .success(let bytes) = FileReader.read(path(of: id), atMost: 4096) else { return nil }
    return Self.entry(String(decoding: bytes, as: UTF8.self))
  }

  /// `<identity> <expires> once|reusable <sha256>`
  package static func text(_ entry: Entry) -> String {
    "\(entry.identity.uri) \(entry.expires) \(entry.isReusable ? "reusable" : "once") "
      + Base64URL.encode(entry.digest) + "\n"
  }

  package static func entry(_ text: String) -> Entry? {
    let words = text.split(whereSeparator: \.isWhitespace).map(String.init)
    guard words.count == 4, let identity = WorkloadIdentity(uri: words[0]),
      let expires = Int(words[1]), words[2] == "once" || words[2] == "reusable",
      let digest = Base64URL.decode(words[3]), digest.count == 32
    else { return nil }
    return Entry(
      identity: identity, expires: expires, isReusable: words[2] == "reusable", digest: digest)
  }
}
