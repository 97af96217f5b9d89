import Engine
import ResourceModel
import Resources
import TLS
import Telemetry

/// One TLS configuration on the main thread: what it was written as, and the context built of it.
final class TLSSource {
  enum Message {
    case upstream(TLSCompiler.Upstream)
    case downstream(TLSCompiler.Downstream)
  }

  let message: Message
  let path: ConfigPath
  /// Where its statistics are filed; ends with a dot.
  let scope: String
  let stats: Ref<TLSStats>
  private(set) var context: TLSContext
  private let ticketKeys: TicketKeys?
  /// What the files held when they were last looked at.
  private var digest: [UInt8] = []

  /// nil when it has a mistake, which is in the diagnostics.
  init?(
    _ message: Message, at path: ConfigPath, scope: String, _ diagnostics: Diagnostics,
    in store: StatsStore
  ) {
    self.message = message
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
    let files = Self.fileNames(of: message)
    digest = Self.digest(of: files)
    guard let context = Self.build(message, ticketKeys, at: path, diagnostics) else { return nil }
    self.context = context
    stats = .configured(TLSStats(scope: scope, factory: factory, in: store))
    publishExpiry(in: store)
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
    publish("unnamed_cert", context.certificates[...])
    // Of a bundle Envoy tells of the first.
    publish("unnamed_ca_cert", context.authorities.prefix(1))
  }

  private static func build(
    _ message: Message, _ ticketKeys: TicketKeys?, at path: ConfigPath, _ diagnostics: Diagnostics
  ) -> TLSContext? {
    let compiler = TLSCompiler(diagnostics: diagnostics)
    let options: TLSOptions?
    switch message {
    case .upstream(let context): options = compiler.options(context, at: path)
    case .downstream(let context):
      options = compiler.options(context, ticketKeys: ticketKeys, at: path)
    }
    guard let options else { return nil }
    do throws(TLSContextError) {
      return try TLSContext(options)
    } catch {
      diagnostics.error(at: error.part.path(in: path.field("common_tls_context")), error.message)
      return nil
    }
  }

  /// Whether the files hold something else than at the last look.
  func hasChanged() -> Bool {
    let newer = Self.digest(of: Self.fileNames(of: message))
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

  var fileNames: FileNames { Self.fileNames(of: message) }

  private static func fileNames(of message: Message) -> FileNames {
    let common: TLSCompiler.Common =
      switch message {
      case .upstream(let context): context.commonTlsContext
      case .downstream(let context): context.commonTlsContext
      }
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
    guard let newer = Self.build(message, ticketKeys, at: path, diagnostics) else { return nil }
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
  fileprivate func path(in common: ConfigPath) -> ConfigPath {
    let parameters = common.field("tls_params")
    let validation = common.field("validation_context")
    return switch self {
    case .certificate(let index):
      common.field("tls_certificates").index(index).field("certificate_chain")
    case .key(let index): common.field("tls_certificates").index(index).field("private_key")
    case .trustedCA: validation.field("trusted_ca")
    case .revocationLists: validation.field("crl")
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
  var onRemove: (Int) -> Void = { _ in }

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
    byNumber[number] = nil
    free.append(number)
    onRemove(number)
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
