import CLinux
import Engine

/// One address that a name resolved to.
package struct DNSRecord {
  package let address: SocketAddress
  /// Seconds for which the answer holds; zero when it came from `/etc/hosts` or was a literal.
  package let ttl: UInt32
}

/// How a lookup ended.
package enum DNSAnswer {
  /// The name was answered for; there may be no address.
  case records([DNSRecord])
  /// Nobody could say; a sentence.
  case failure(String)
}

/// A lookup that is under way.
package final class DNSQuery {
  let name: String
  fileprivate var completion: ((DNSAnswer) -> Void)?

  fileprivate init(name: String, completion: @escaping (DNSAnswer) -> Void) {
    self.name = name
    self.completion = completion
  }

  /// Ends the lookup as far as its asker is concerned: the completion is not called any more.
  package func cancel() { completion = nil }

  fileprivate func finish(_ answer: DNSAnswer) {
    let call = completion
    completion = nil
    call?(answer)
  }
}

/// Resolves names on the main thread's loop, without ever blocking it: `/etc/hosts` first, then the
/// configured name servers or those of `/etc/resolv.conf`.
package final class DNSResolver {
  private let loop: EventLoop
  private let options: ResolverOptions
  private var channel: AresChannel?

  package init(loop: EventLoop, options: ResolverOptions = ResolverOptions()) {
    self.loop = loop
    self.options = options
  }

  deinit { channel?.close() }

  /// The name and version of the library that asks.
  package static var libraryVersion: String { AresChannel.libraryVersion }

  /// Looks a name up. The completion is called later, never from within this call.
  /// - Parameter port: put into every address.
  package func resolve(
    _ name: String, port: UInt16 = 0, lookup: DNSOptions.Lookup,
    completion: @escaping (DNSAnswer) -> Void
  ) -> DNSQuery {
    let query = DNSQuery(name: name, completion: completion)
    if let literal = SocketAddress(ip: name, port: port) {
      // Nobody needs to be asked, whatever the family.
      DeferredAnswer.deliver(on: loop) {
        query.finish(.records([DNSRecord(address: literal, ttl: 0)]))
      }
      return query
    }
    let families: [AddressLookup] =
      switch lookup {
      case .auto: [.v6, .v4]
      case .v4Preferred: [.v4, .v6]
      case .v4Only: [.v4]
      case .v6Only: [.v6]
      case .all: [.both]
      }
    ask(query, port: port, families[...])
    return query
  }

  /// Asks for one family after the other until one has addresses.
  private func ask(_ query: DNSQuery, port: UInt16, _ families: ArraySlice<AddressLookup>) {
    guard let family = families.first, query.completion != nil else { return }
    guard let channel = usableChannel() else {
      return DeferredAnswer.deliver(on: loop) {
        query.finish(.failure("cannot resolve '\(query.name)': the resolver could not be set up"))
      }
    }
    let rest = families.dropFirst()
    channel.lookUp(query.name, port: port, family) { [weak self] answer in
      guard let self, !rest.isEmpty, !answer.hasRecords else { return query.finish(answer) }
      ask(query, port: port, rest)
    }
  }

  /// A channel reads `/etc/resolv.conf` once; after a server could not be reached, the next lookup
  /// reads it anew, because the machine may have moved to another network.
  private func usableChannel() -> AresChannel? {
    if let channel, !(channel.sawUnreachableServer && channel.isIdle) { return channel }
    channel?.close()
    channel = AresChannel(loop: loop, options: options)
    return channel
  }
}

extension DNSAnswer {
  fileprivate var hasRecords: Bool {
    if case .records(let records) = self { return !records.isEmpty }
    return false
  }
}

/// Which records one query asks for.
enum AddressLookup {
  case v4
  case v6
  case both

  var family: Int32 {
    switch self {
    case .v4: AF_INET
    case .v6: AF_INET6
    case .both: AF_UNSPEC
    }
  }
}

/// A call from the loop, after the events at hand.
enum DeferredAnswer {
  private final class Call {
    let body: () -> Void
    init(_ body: @escaping () -> Void) { self.body = body }
  }

  static func deliver(on loop: EventLoop, _ body: @escaping () -> Void) {
    // SAFETY: retained here, released by the one call that the loop makes.
    unsafe loop.later(context: Unmanaged.passRetained(Call(body)).toOpaque()) { context, _ in
      unsafe Unmanaged<Call>.fromOpaque(context).takeRetainedValue().body()
    }
  }
}
