import Engine
import ResourceModel
import Resources
import TLS
import Telemetry

/// One TLS configuration on the main thread: what it was written as, the secrets that it takes by name,
/// and the context built of both.
final class TLSSource {
  enum Message {
    case upstream(TLSCompiler.Upstream)
    case downstream(TLSCompiler.Downstream)

    var common: TLSCompiler.Common {
      switch self {
      case .upstream(let context): context.commonTlsContext
      case .downstream(let context): context.commonTlsContext
      }
    }

    fileprivate func with(_ common: TLSCompiler.Common) -> Message {
      switch self {
      case .upstream(var context):
        context.commonTlsContext = common
        return .upstream(context)
      case .downstream(var context):
        context.commonTlsContext = common
        return .downstream(context)
      }
    }
  }

  /// What other secrets would make of it.
  enum Change {
    /// Another one is not there yet.
    case waits
    case built(Message, TLSContext)
  }

  typealias Secret = Envoy_Extensions_TransportSockets_Tls_V3_Secret

  let message: Message
  /// What it takes by name.
  let secrets: [SecretReference]
  let path: ConfigPath
  /// Where its statistics are filed; ends with a dot.
  let scope: String
  let stats: Ref<TLSStats>
  /// nil as long as a secret is not there.
  private(set) var context: TLSContext?
  /// The message with its secrets in place.
  private var whole: Message?
  private let statics: [String: Secret]
  private let ticketKeys: TicketKeys?
  /// What the files held when they were last looked at.
  private var digest: [UInt8] = []

  /// nil when it has a mistake, which is in the diagnostics.
  init?(
    _ message: Message, at path: ConfigPath, scope: String, _ diagnostics: Diagnostics,
    in store: StatsStore, secrets sources: TLSSources
  ) {
    self.message = message
    secrets = message.common.secrets(at: path.field("common_tls_context"))
    statics = sources.statics
    self.path = path
    self.scope = scope
    let compiler = TLSCompiler(diagnostics: diagnostics)
    let factory: String
    switch message {
    case .upstream:
      ticketKeys = nil
      factory = "client_ssl_socket_factory"
    case .downstream(let context):
      guard let keys = compiler.ticketKeys(context, at: path) else { return nil }
      ticketKeys = keys
      factory = "server_ssl_socket_factory"
    }
    stats = .configured(TLSStats(scope: scope, factory: factory, in: store))
    guard let change = change(diagnostics, sources.find) else { return nil }
    adopt(change)
    publishExpiry(in: store)
  }

  /// Those of its secrets that come by themselves.
  var secretKeys: Set<SecretKey> { Set(secrets.compactMap(\.key)) }

  var isDownstream: Bool {
    if case .downstream = message { true } else { false }
  }

  /// What it would become with these secrets; nil, with the reasons, when they do not fit.
  func change(_ diagnostics: Diagnostics, _ find: (SecretKey) -> Secret?) -> Change? {
    var found: [Secret] = []
    for reference in secrets {
      let secret = reference.key.map(find) ?? statics[reference.name]
      guard let secret else { continue }
      guard reference.fits(secret) else {
        diagnostics.error(
          at: reference.path, "the secret '\(reference.name)' is not \(reference.wanted)")
        return nil
      }
      found.append(secret)
    }
    guard found.count == secrets.count else { return .waits }
    let whole = message.with(message.common.filled(with: found))
    return build(whole, diagnostics).map { .built(whole, $0) }
  }

  /// From now on it is that.
  func adopt(_ change: Change) {
    guard case .built(let whole, let context) = change else { return }
    self.whole = whole
    self.context = context
    digest = Self.digest(of: fileNames)
  }

  /// `ssl.certificate.….expiration_unix_time_seconds`, under Envoy's names for what has none.
  func publishExpiry(in store: StatsStore) {
    func publish(_ kind: String, _ certificates: ArraySlice<CertificateFacts>) {
      for certificate in certificates {
        store.main.gaugeSet(
          store.gauge("\(scope)ssl.certificate.\(kind)_e3b0c442.expiration_unix_time_seconds"),
          Int64(certificate.notAfter))
      }
    }
    guard let context else { return }
    publish("unnamed_cert", context.certificates[...])
    // Of a bundle Envoy tells of the first.
    publish("unnamed_ca_cert", context.authorities.prefix(1))
  }

  private func build(_ whole: Message, _ diagnostics: Diagnostics) -> TLSContext? {
    let places = TLSPartPlaces(message.common, at: path.field("common_tls_context"))
    let compiler = TLSCompiler(diagnostics: diagnostics)
    let options: TLSOptions?
    switch whole {
    case .upstream(let context): options = compiler.options(context, places)
    case .downstream(let context):
      options = compiler.options(context, ticketKeys: ticketKeys, places)
    }
    guard let options else { return nil }
    do throws(TLSContextError) {
      return try TLSContext(options)
    } catch {
      diagnostics.error(at: error.part.path(in: places), error.message)
      return nil
    }
  }

  /// Whether the files hold something else than at the last look.
  func hasChanged() -> Bool {
    let newer = Self.digest(of: fileNames)
    defer { digest = newer }
    return newer != digest
  }

  private static func digest(of names: FileNames) -> [UInt8] {
    var bytes: [UInt8] = []
    for name in names.all {
      switch FileReader.read(name, atMost: TLSCompiler.fileBytes) {
      case .success(let content): bytes += Digest.sha256(content)
      case .failure: bytes.append(0)
      }
    }
    return bytes
  }

  /// The files that it is made of.
  struct FileNames {
    /// By certificate; nil for what comes from elsewhere.
    var certificates: [String?] = []
    var authority: String?
    var all: [String] = []
    /// Directories whose changes are to be noticed.
    var directories: [String] = []
  }

  var fileNames: FileNames {
    let common = (whole ?? message).common
    var names = FileNames()
    for certificate in common.tlsCertificates {
      names.certificates.append(certificate.certificateChain.file)
      names.add(
        [certificate.certificateChain, certificate.privateKey, certificate.password],
        watching: certificate.watchedDirectory.path)
    }
    if case .validationContext(let validation)? = common.validationContextType {
      names.authority = validation.trustedCa.file
      names.add(
        [validation.trustedCa, validation.crl], watching: validation.watchedDirectory.path)
    }
    return names
  }

  /// Reads everything again. The new context, or nil, with the reasons, when the old one stays.
  func rebuild(_ diagnostics: Diagnostics) -> TLSContext? {
    guard let whole, let newer = build(whole, diagnostics) else { return nil }
    context = newer
    return newer
  }

  /// Whom its clients ask for.
  var clientNames: TLSPlace.ClientNames {
    var names = TLSPlace.ClientNames()
    guard case .upstream(let message) = message else { return names }
    names.serverName = message.sni
    names.usesHostname = message.autoHostSni
    names.matchesServerName = message.autoSniSanValidation
    names.sessionCount =
      message.hasMaxSessionKeys
      ? Int(message.maxSessionKeys.value) : Defaults.maxSessionKeys
    return names
  }
}

extension TLSSource.FileNames {
  fileprivate mutating func add(
    _ sources: [Envoy_Config_Core_V3_DataSource], watching directory: String
  ) {
    let files = sources.compactMap(\.file)
    all += files
    // Where a directory is named, its changes announce those of the files; else each file does.
    directories += directory.isEmpty ? files.map(Self.directory) : files.isEmpty ? [] : [directory]
  }

  private static func directory(of file: String) -> String {
    guard let slash = file.lastIndex(of: "/") else { return "." }
    return slash == file.startIndex ? "/" : String(file[..<slash])
  }
}

extension Envoy_Config_Core_V3_DataSource {
  fileprivate var file: String? {
    guard case .filename(let name)? = specifier else { return nil }
    return name
  }
}

extension TLSContextError.Part {
  /// Where the part stands in a common TLS context.
  fileprivate func path(in places: TLSPartPlaces) -> ConfigPath {
    let common = places.common
    let parameters = common.field("tls_params")
    return switch self {
    case .certificate(let index): places.certificate(index).field("certificate_chain")
    case .key(let index): places.certificate(index).field("private_key")
    case .trustedCA: places.validation.field("trusted_ca")
    case .revocationLists: places.validation.field("crl")
    case .ciphers: parameters.field("cipher_suites")
    case .curves: parameters.field("ecdh_curves")
    case .signatureAlgorithms: parameters.field("signature_algorithms")
    case .versions: parameters.field("tls_maximum_protocol_version")
    case .protocols: common.field("alpn_protocols")
    case .memory: common
    }
  }
}

/// All TLS configurations of the process, numbered; workers have a place for each.
final class TLSSources {
  private var byNumber: [TLSSource?] = []
  private var free: [Int] = []
  /// Once workers run: gives them a place for a configuration that has come, or takes it away.
  var onAdd: (Int, TLSSource) -> Void = { _, _ in }
  var onRemove: (Int, TLSSource) -> Void = { _, _ in }
  /// The bootstrap's secrets, by name.
  var statics: [String: TLSSource.Secret] = [:]
  /// Once the server runs: the secrets that have come.
  var find: (SecretKey) -> TLSSource.Secret? = { _ in nil }

  /// With their numbers.
  var all: [(number: Int, source: TLSSource)] {
    byNumber.enumerated().compactMap { number, source in source.map { (number, $0) } }
  }

  /// Its number, for as long as the resource lasts that is being compiled.
  func add(_ source: TLSSource) -> Int {
    let number = free.popLast() ?? byNumber.count
    if number == byNumber.count { byNumber.append(source) } else { byNumber[number] = source }
    ResourceMemory.atEnd { [weak self] in self?.remove(number) }
    onAdd(number, source)
    return number
  }

  /// nil for a number that stands for plain bytes.
  func source(_ number: Int) -> TLSSource? {
    byNumber.indices.contains(number) ? byNumber[number] : nil
  }

  private func remove(_ number: Int) {
    guard let source = byNumber[number] else { return }
    byNumber[number] = nil
    free.append(number)
    onRemove(number, source)
  }
}

extension TLSSource {
  /// A worker's place for it.
  func makePlace(
    _ store: StatsStore, main: Mailbox, own: Mailbox, worker: WorkerStats
  ) -> Ref<TLSPlace> {
    .immortal(
      TLSPlace(
        context, stats: stats,
        counters: NamedCounters(scope: scope + "ssl.", store: store, main: main, own: own),
        client: clientNames, worker: worker))
  }
}
