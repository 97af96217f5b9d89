import Engine

/// The order in which the addresses of one host are tried, and when (happy eyeballs, RFC 8305).
///
/// A pure state machine: its owner opens sockets and arms timers, tells what happened, and does what
/// it is told. The addresses are copied, because a snapshot may go while a connection is being made.
package struct ConnectionAttempts: BitwiseCopyable {
  /// How long one attempt has the field to itself, in milliseconds (RFC 8305 §5 recommends 250;
  /// Envoy's is 300).
  package static let stagger: UInt64 = 300

  /// What to do next.
  package enum Step: BitwiseCopyable {
    /// Connect to the address of this attempt. If more is to come, arm the timer anew.
    case connect(attempt: Int, armTimer: Bool)
    /// Nothing now: attempts are running.
    case wait
    /// Every attempt has failed.
    case fail
  }

  private var addresses = InlineArray<8, SocketAddress>(repeating: SocketAddress())
  package let count: Int
  private var started = 0
  private var failed = 0

  /// Takes at most `ConfigBounds.addressesPerHost` addresses.
  /// - Parameters:
  ///   - firstFamily: the family to begin with; nil begins with that of the first address.
  ///   - firstFamilyCount: how many of that family go before the first of the other.
  package init(
    _ addresses: Table<SocketAddress>, firstFamily: AddressFamily? = nil, firstFamilyCount: Int = 1
  ) {
    let total = min(addresses.count, ConfigBounds.addressesPerHost)
    count = total
    guard total > 0 else { return }
    let first = firstFamily.map { $0 == .v6 } ?? addresses[0].isIPv6
    // The addresses stay in order within a family; the families take turns.
    var next = (preferred: 0, other: 0)
    var placed = 0
    while placed < total {
      let wantsPreferred = placed < max(1, firstFamilyCount) || (placed - firstFamilyCount) % 2 != 0
      if !(wantsPreferred
        ? place(first, &next.preferred, addresses, total, &placed)
        : place(!first, &next.other, addresses, total, &placed))
      {
        // One family is spent: the rest of the other follows.
        while place(first, &next.preferred, addresses, total, &placed) {}
        while place(!first, &next.other, addresses, total, &placed) {}
      }
    }
  }

  /// Places the next address of a family, if there is one at or after `cursor`.
  private mutating func place(
    _ isIPv6: Bool, _ cursor: inout Int, _ source: Table<SocketAddress>, _ total: Int,
    _ placed: inout Int
  ) -> Bool {
    while cursor < total, source[cursor].isIPv6 != isIPv6 { cursor += 1 }
    guard cursor < total else { return false }
    addresses[placed] = source[cursor]
    cursor += 1
    placed += 1
    return true
  }

  /// Where an attempt goes.
  package func address(_ attempt: Int) -> SocketAddress {
    precondition(attempt >= 0 && attempt < count, "an attempt of this host")
    return addresses[attempt]
  }

  /// How many attempts were begun.
  package var startedCount: Int { started }

  /// Begins.
  package mutating func start() -> Step { startNext() }

  /// The timer fired: the latest attempt has had its time alone.
  package mutating func timerFired() -> Step { startedAll ? .wait : startNext() }

  /// An attempt failed. The next one does not wait for the timer; when told to connect, the owner
  /// replaces the timer that is running.
  package mutating func attemptFailed() -> Step {
    failed += 1
    if !startedAll { return startNext() }
    return failed >= count ? .fail : .wait
  }

  private var startedAll: Bool { started >= count }

  private mutating func startNext() -> Step {
    guard !startedAll else { return .fail }
    started += 1
    return .connect(attempt: started - 1, armTimer: started < count)
  }
}
