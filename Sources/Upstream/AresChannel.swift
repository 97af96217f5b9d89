import CAres
import CLinux
import Engine

/// Owns one c-ares channel and drives it from the loop: its descriptors are registered as it asks
/// for them, and one timer serves its time-outs. The only file that sees c-ares.
///
/// Its descriptors are watched level-triggered, because c-ares reads as much as it likes of a TCP
/// answer and counts on hearing about the rest.
@safe
final class AresChannel {
  private let loop: EventLoop
  // SAFETY: destroyed once, in `close`, and nil from then on.
  private var raw: ares_channel?
  private var watches: [Int32: Watch] = [:]
  private var timer = TimerID.none
  private var outstanding = 0
  /// A name server refused or did not answer.
  private(set) var sawUnreachableServer = false

  /// The library's name and version, of the copy that is in the process: `c-ares 1.18.1`.
  static var libraryVersion: String {
    let text = unsafe ares_version(nil).map { unsafe String(cString: $0) }
    return "c-ares \(text ?? "unknown")"
  }

  /// Nil when c-ares cannot start, as without memory.
  init?(loop: EventLoop, options: ResolverOptions) {
    self.loop = loop
    guard Self.libraryIsReady else { return nil }
    var settings = unsafe ares_options()
    unsafe settings.timeout = Int32(clamping: options.queryTimeout)
    unsafe settings.tries = Int32(clamping: options.tries)
    unsafe settings.sock_state_cb_data = Unmanaged.passUnretained(self).toOpaque()
    unsafe settings.sock_state_cb = { context, fd, readable, writable in
      guard let context = unsafe context else { return }
      // SAFETY: the channel is destroyed in `close`, while its owner is still there.
      unsafe Unmanaged<AresChannel>.fromOpaque(context).takeUnretainedValue()
        .watch(fd, readable: readable != 0, writable: writable != 0)
    }
    var mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB
    mask |= unsafe fl_ares_keep_no_answers(&settings)
    var channel: ares_channel?
    guard unsafe ares_init_options(&channel, &settings, mask) == ARES_SUCCESS else { return nil }
    unsafe raw = channel
    if !options.servers.isEmpty {
      let list = options.servers.array.map(\.description).joined(separator: ",")
      guard unsafe ares_set_servers_ports_csv(channel, list) == ARES_SUCCESS else {
        close()
        return nil
      }
    }
  }

  deinit { precondition(unsafe raw == nil, "a channel is closed before it goes") }

  /// c-ares wants this once per process, before any thread might use it.
  private static let libraryIsReady = ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS

  var isIdle: Bool { outstanding == 0 }

  /// Ends every lookup; their answers are failures, delivered later as all answers are.
  func close() {
    guard let channel = unsafe raw else { return }
    unsafe raw = nil
    loop.cancel(timer)
    unsafe ares_destroy(channel)
    for watch in watches.values { loop.unregister(watch.registration) }
    watches = [:]
  }

  // MARK: Looking up

  private final class Lookup {
    let channel: AresChannel
    let name: String
    let port: UInt16
    let completion: (DNSAnswer) -> Void

    init(
      _ channel: AresChannel, name: String, port: UInt16, completion: @escaping (DNSAnswer) -> Void
    ) {
      self.channel = channel
      self.name = name
      self.port = port
      self.completion = completion
    }
  }

  /// Asks once. The completion is called from the loop, later.
  func lookUp(
    _ name: String, port: UInt16, _ records: AddressLookup,
    completion: @escaping (DNSAnswer) -> Void
  ) {
    var hints = ares_addrinfo_hints()
    hints.ai_family = records.family
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    // Sorting by reachability (RFC 6724) would open a socket for every address.
    hints.ai_flags = ARES_AI_NOSORT
    let lookup = Lookup(self, name: name, port: port, completion: completion)
    outstanding += 1
    // SAFETY: retained here; c-ares calls back exactly once, and the callback takes it.
    unsafe ares_getaddrinfo(
      raw, name, nil, &hints,
      { context, status, _, result in
        guard let context = unsafe context else { return }
        let lookup = unsafe Unmanaged<Lookup>.fromOpaque(context).takeRetainedValue()
        let answer = unsafe AresChannel.answer(status, result, lookup)
        if let result = unsafe result { unsafe ares_freeaddrinfo(result) }
        lookup.channel.finished(lookup, status: status, answer)
      }, Unmanaged.passRetained(lookup).toOpaque())
    armTimer()
  }

  private func finished(_ lookup: Lookup, status: Int32, _ answer: DNSAnswer) {
    outstanding -= 1
    if status == ARES_ECONNREFUSED || status == ARES_ETIMEOUT {
      sawUnreachableServer = true
    }
    // Not from within c-ares: the completion may start or end lookups.
    DeferredAnswer.deliver(on: loop) { lookup.completion(answer) }
  }

  private static func answer(
    _ status: Int32, _ result: UnsafeMutablePointer<ares_addrinfo>?, _ lookup: Lookup
  ) -> DNSAnswer {
    // The server is sure that there is nothing.
    if status == ARES_ENODATA || status == ARES_ENOTFOUND { return .records([]) }
    guard status == ARES_SUCCESS, let result = unsafe result else {
      let reason = unsafe String(cString: ares_strerror(status))
      return .failure("cannot resolve '\(lookup.name)': \(reason)")
    }
    var records: [DNSRecord] = []
    var node = unsafe result.pointee.nodes
    while let current = unsafe node, records.count < ConfigBounds.hostsPerName {
      if var address = unsafe SocketAddress(current.pointee.ai_addr, current.pointee.ai_addrlen) {
        address.port = lookup.port
        records.append(
          DNSRecord(address: address, ttl: UInt32(clamping: unsafe current.pointee.ai_ttl)))
      }
      unsafe node = current.pointee.ai_next
    }
    return .records(records)
  }

  // MARK: Descriptors and time

  /// One descriptor of the channel, as the loop's context for it.
  private final class Watch {
    unowned let channel: AresChannel
    let fd: Int32
    var registration: UInt32 = 0

    init(_ channel: AresChannel, fd: Int32) {
      self.channel = channel
      self.fd = fd
    }
  }

  private func watch(_ fd: Int32, readable: Bool, writable: Bool) {
    let events = (readable ? FL_EPOLLIN : 0) | (writable ? FL_EPOLLOUT : 0)
    if let watch = watches[fd] {
      guard events == 0 else { return loop.change(watch.registration, events: events) }
      watches[fd] = nil
      return loop.unregister(watch.registration)
    }
    guard events != 0 else { return }
    let watch = Watch(self, fd: fd)
    // SAFETY: `watches` keeps the context until it is unregistered.
    let registration = unsafe loop.register(
      fd, events: events, context: Unmanaged.passUnretained(watch).toOpaque()
    ) { context, flags in
      let watch = unsafe Unmanaged<Watch>.fromOpaque(context).takeUnretainedValue()
      watch.channel.process(watch.fd, flags)
    }
    // Unwatched, the query ends by its time-out.
    guard let registration else { return }
    watch.registration = registration
    watches[fd] = watch
  }

  private func process(_ fd: Int32, _ flags: UInt32) {
    let readable = flags & (FL_EPOLLIN | FL_EPOLLHANGUP) != 0
    let writable = flags & FL_EPOLLOUT != 0
    unsafe ares_process_fd(raw, readable ? fd : -1, writable ? fd : -1)
    armTimer()
  }

  /// Sets the timer to c-ares' nearest time-out.
  private func armTimer() {
    loop.cancel(timer)
    timer = .none
    guard let channel = unsafe raw else { return }
    var next = timeval()
    guard unsafe ares_timeout(channel, nil, &next) != nil else { return }
    let milliseconds = UInt64(max(0, next.tv_sec)) * 1000 + UInt64(max(0, next.tv_usec)) / 1000 + 1
    // SAFETY: `close` cancels the timer before the channel can go.
    unsafe timer = loop.after(
      milliseconds: milliseconds, context: Unmanaged.passUnretained(self).toOpaque()
    ) { context, _ in
      let channel = unsafe Unmanaged<AresChannel>.fromOpaque(context).takeUnretainedValue()
      channel.timer = .none
      unsafe ares_process_fd(channel.raw, -1, -1)
      channel.armTimer()
    }
  }
}

extension SocketAddress {
  /// A copy of what c-ares gave. SAFETY: `address` holds `length` bytes.
  fileprivate init?(_ address: UnsafeMutablePointer<sockaddr>?, _ length: UInt32) {
    guard let address = unsafe address,
      length <= UInt32(MemoryLayout<sockaddr_storage>.size)
    else { return nil }
    var storage = sockaddr_storage()
    unsafe memcpy(&storage, address, Int(length))
    self.init(storage)
  }
}
