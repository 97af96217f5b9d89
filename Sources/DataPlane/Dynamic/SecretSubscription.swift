import ResourceModel
import Resources
import Telemetry

/// One secret that TLS configurations take by its name (SDS): follows it, has each of them build its
/// context anew, and keeps the last good one. Main thread.
///
/// An update is taken over by all of them, or refused by all. New connections begin with it; those that
/// there are keep what they began with.
final class SecretSubscription {
  typealias Message = Envoy_Extensions_TransportSockets_Tls_V3_Secret

  let key: SecretKey
  /// What is in force.
  private(set) var accepted: AcceptedResource?
  private(set) var secret: Message?
  /// By their numbers.
  private var users: [Int: TLSSource] = [:]
  private unowned let server: Server
  private var subscription: (any Subscription)?
  /// The secret is there, or there is no hope for it at first.
  var isInitialized: Bool { first.isThere }
  private let first = FirstAnswer()

  init(_ key: SecretKey, for server: Server) {
    self.key = key
    self.server = server
  }

  /// Asks for the secret; from then on it is followed.
  func start() {
    guard subscription == nil else { return }
    let subscription = server.secrets.makeSubscription(
      key,
      Subscriber(
        update: { [weak self] in self?.update($0) ?? [] },
        failed: { [weak self] in self?.first.come() }))
    self.subscription = subscription
    subscription.start()
  }

  /// Nobody takes the secret any more.
  func end() {
    subscription = nil
    first.forget()
  }

  /// Calls `body` once the secret is there, or there is no hope for it at first.
  func whenInitialized(_ body: @escaping () -> Void) { first.then(body) }

  // MARK: Users

  /// A TLS configuration takes its secret from here.
  func add(_ source: TLSSource, _ number: Int) { users[number] = source }

  /// It takes it no more. Says whether nobody does.
  func remove(_ number: Int) -> Bool {
    users[number] = nil
    return users.isEmpty
  }

  // MARK: Updates

  private func update(_ set: DiscoveredSet) -> [Refusal] {
    defer { first.come() }
    guard let resource = set.resources.first else {
      // A control plane says that there is none, or none any more: the last good one stays. A file has
      // to hold one.
      guard key.isFile else { return [] }
      return [Refusal(name: key.name, reasons: ["the file holds no secret"])]
    }
    let reasons = set.resources.count > 1 ? ["expected one resource"] : take(resource, set.version)
    return reasons.isEmpty ? [] : [Refusal(name: resource.name, reasons: reasons)]
  }

  /// Takes a newer version over; the reasons when the old one stays.
  private func take(_ resource: DiscoveredResource, _ version: String) -> [String] {
    guard resource.isFit else { return resource.problems }
    guard resource.type == ResourceType.secrets.rawValue else {
      return ["expected a secret, found '\(resource.type)'"]
    }
    guard resource.name == key.name else {
      return ["expected the secret '\(key.name)', found '\(resource.name)'"]
    }
    guard let message = resource.decode(Message.self) else { return resource.problems }
    if resource.bytes != accepted?.resource.bytes {
      let diagnostics = resource.copyOfDiagnostics
      SecretCompiler(diagnostics: diagnostics).check(message, at: resource.path)
      guard !diagnostics.hasErrors else { return diagnostics.rendered }
      let reasons = takeOver(message)
      guard reasons.isEmpty else { return reasons }
      ProcessLog.shared.info(.secret, "SDS: secret '\(key.name)' is taken over")
    }
    accepted = AcceptedResource(resource: resource, version: version)
    return []
  }

  private func takeOver(_ message: Message) -> [String] {
    var changes: [(number: Int, source: TLSSource, change: TLSSource.Change)] = []
    for (number, source) in users.sorted(by: { $0.key < $1.key }) {
      let diagnostics = Diagnostics(files: [])
      let change = source.change(diagnostics) { [key, server] in
        $0 == key ? message : server.secrets.secret($0)
      }
      guard let change else {
        return diagnostics.all.map { "\(source.path): \($0.message)" }
      }
      changes.append((number, source, change))
    }
    // Only now, when all can have it.
    secret = message
    for (number, source, change) in changes {
      source.adopt(change)
      server.publish(source, at: number)
    }
    return []
  }
}

/// All secrets that are taken by name. Main thread.
final class SecretDirectory {
  private unowned let server: Server
  private var subscriptions: [SecretKey: SecretSubscription] = [:]
  private var isStartPlanned = false

  init(_ server: Server) { self.server = server }

  /// Where a secret comes from: from a file or from the control plane, as its key says, unless the
  /// process has a certificate of its own, and the secret is that.
  fileprivate func makeSubscription(
    _ key: SecretKey, _ subscriber: Subscriber
  ) -> any Subscription {
    if let own = server.ownCertificate, let secret = OwnSecret(rawValue: key.name), !key.isFile {
      let stats = SubscriptionStats(scope: Self.scope(key.name), in: server.config.store)
      return OwnSecretSubscription(secret, of: own, stats: stats, subscriber: subscriber)
    }
    return server.subscribe(
      to: key.source, .secrets, named: key.name, of: "SDS for '\(key.name)'",
      scope: Self.scope(key.name), subscriber)
  }

  private static func scope(_ name: String) -> String { "sds.\(name)." }

  /// In the order of their names.
  var all: [SecretSubscription] {
    subscriptions.sorted { $0.key.name < $1.key.name }.map(\.value)
  }

  /// The secret that is in force; nil as long as there is none.
  func secret(_ key: SecretKey) -> SecretSubscription.Message? { subscriptions[key]?.secret }

  /// Has a TLS configuration follow the secrets that it names.
  func follow(_ source: TLSSource, _ number: Int) {
    for key in source.secretKeys {
      let subscription = subscriptions[key] ?? SecretSubscription(key, for: server)
      subscriptions[key] = subscription
      subscription.add(source, number)
    }
    // Later, so that nothing comes while its resource is still being compiled, or for one that is
    // refused.
    guard !source.secretKeys.isEmpty, !isStartPlanned else { return }
    isStartPlanned = true
    server.loop.soon { [weak self] in self?.startAll() }
  }

  private func startAll() {
    isStartPlanned = false
    for subscription in all { subscription.start() }
  }

  /// The TLS configuration is no more.
  func leave(_ source: TLSSource, _ number: Int) {
    for key in source.secretKeys {
      guard let subscription = subscriptions[key], subscription.remove(number) else { continue }
      subscription.end()
      subscriptions[key] = nil
      if !subscriptions.keys.contains(where: { $0.name == key.name }) {
        server.config.store.remove(prefix: Self.scope(key.name))
      }
    }
  }

  /// The names of secrets that a TLS configuration still waits for.
  func awaited(by number: Int) -> [String] {
    (server.config.tls.source(number)?.secretKeys ?? [])
      .filter { subscriptions[$0]?.isInitialized == false }.map(\.name)
  }

  /// Calls `body` once the secrets of some TLS configurations are there, or there is no hope for them at
  /// first.
  func whenSettled(_ numbers: [Int], _ body: @escaping () -> Void) {
    var left = 1
    let one = {
      left -= 1
      if left == 0 { body() }
    }
    for key in numbers.flatMap({ server.config.tls.source($0)?.secretKeys ?? [] }) {
      guard let subscription = subscriptions[key] else { continue }
      left += 1
      subscription.whenInitialized(one)
    }
    one()
  }
}

extension Envoy_Config_Core_V3_ConfigSource.OneOf_ConfigSourceSpecifier {
  /// From the aggregated stream.
  var isADS: Bool {
    if case .ads = self { true } else { false }
  }
}
