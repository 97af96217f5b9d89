import CLinux

/// What a descriptor's registration calls: the context it gave, and epoll's event bits.
package typealias IOCallback = @convention(c) (UnsafeMutableRawPointer, UInt32) -> Void

/// What a deferred call is: the context and tag it was given.
package typealias DeferredCallback = @convention(c) (UnsafeMutableRawPointer, UInt64) -> Void

/// One event loop on one thread: descriptors, timers, deferred calls, and messages from other
/// threads. A trivial handle; everything but `mailbox` belongs to the loop's own thread.
@usableFromInline
package struct EventLoop: BitwiseCopyable {
  @usableFromInline package let state: Ref<State>

  /// Bytes one read takes at most. Also the largest head that is parsed where it was received.
  @inlinable package static var scratchBytes: Int { 64 * 1024 }

  /// Room to put one head together: as much as the largest block can hold.
  @inlinable package static var sendScratchBytes: Int { BlockPool.largest }

  @safe @usableFromInline
  package struct State: ~Copyable {
    fileprivate let epoll: Int32
    fileprivate let events: UnsafeMutablePointer<epoll_event>
    fileprivate static let eventCapacity = 256

    @safe fileprivate struct Registration: BitwiseCopyable {
      var fd: Int32 = -1
      var generation: UInt32 = 0
      var nextFree: Int32 = -1
      var callback: IOCallback?
      var context: UnsafeMutableRawPointer?
    }

    // SAFETY: holds `registrationCapacity` entries; indices are checked against it.
    fileprivate var registrations: UnsafeMutablePointer<Registration>
    fileprivate var registrationCapacity = 256
    fileprivate var freeRegistration: Int32 = -1

    fileprivate var deferred = DeferredQueue()
    fileprivate let timers: Ref<TimerWheel>
    fileprivate var stopping = false
    fileprivate var atBatchEnd: (callback: DeferredCallback, context: UnsafeMutableRawPointer)?

    package let mailbox: Mailbox
    /// Pooled memory of this thread.
    @usableFromInline package var blocks = BlockPool()
    /// Random numbers of this thread.
    @usableFromInline package var random = Random()
    /// Nanoseconds on the monotonic clock, read once per wake-up.
    @usableFromInline package fileprivate(set) var now: UInt64
    /// What to add to `now` for nanoseconds since 1970; taken anew every second.
    @usableFromInline package fileprivate(set) var realtimeOffset: UInt64
    fileprivate var realtimeTakenAt: UInt64
    /// Where sockets are read into; valid until the next read.
    @usableFromInline package let receiveScratch: UnsafeMutablePointer<UInt8>
    /// Where heads are put together before they are sent at once.
    @usableFromInline package let sendScratch: UnsafeMutablePointer<UInt8>
    /// Where bytes pass that go from socket to socket unseen.
    var splicePipe = SplicePipe()
    /// Set while callbacks run, for a watchdog on another thread: the time at which this wake-up
    /// began, or 0 while waiting.
    package let busySince: Ref<fl_cell>

    fileprivate init(mailbox: Mailbox) {
      epoll = fl_epoll_create()
      precondition(epoll >= 0, "epoll is available")
      unsafe events = .allocate(capacity: Self.eventCapacity)
      unsafe registrations = .allocate(capacity: registrationCapacity)
      for index in (0..<registrationCapacity).reversed() {
        unsafe (registrations + index).initialize(to: Registration(nextFree: freeRegistration))
        freeRegistration = Int32(truncatingIfNeeded: index)
      }
      self.mailbox = mailbox
      now = fl_monotonic_ns()
      realtimeOffset = fl_realtime_ns() &- now
      realtimeTakenAt = now
      timers = .immortal(TimerWheel(now: now / 1_000_000))
      unsafe receiveScratch = .allocate(capacity: EventLoop.scratchBytes)
      unsafe sendScratch = .allocate(capacity: EventLoop.sendScratchBytes)
      busySince = .immortal(fl_cell())
    }
  }

  /// A loop for the calling thread to run.
  package init() {
    let mailbox = Mailbox()
    state = .immortal(State(mailbox: mailbox))
    _ = fl_epoll_add(state.value.epoll, mailbox.fd, UInt64.max, FL_EPOLL_READ)
  }

  package var mailbox: Mailbox { state.value.mailbox }

  /// Nanoseconds on the monotonic clock at this wake-up.
  @inlinable package var now: UInt64 { state.value.now }

  /// Nanoseconds since 1970 at this wake-up.
  @inlinable package var wallClock: UInt64 { state.value.now &+ state.value.realtimeOffset }

  // MARK: Descriptors

  /// Watches `fd` until `unregister`. Events are those of `FL_EPOLL_…`.
  package func register(
    _ fd: Int32, events: UInt32, context: UnsafeMutableRawPointer,
    _ callback: @escaping IOCallback
  ) -> UInt32? {
    let s = state
    if s.value.freeRegistration < 0 { s.value.growRegistrations() }
    let index = s.value.freeRegistration
    let entry = unsafe s.value.registrations + Int(index)
    let data = unsafe UInt64(entry.pointee.generation) << 32 | UInt64(index)
    guard fl_epoll_add(s.value.epoll, fd, data, events) == 0 else { return nil }
    s.value.freeRegistration = unsafe entry.pointee.nextFree
    unsafe entry.pointee.fd = fd
    unsafe entry.pointee.callback = callback
    unsafe entry.pointee.context = context
    return UInt32(truncatingIfNeeded: index)
  }

  /// Watches for other events. For the few descriptors that a C library owns and reads as it likes;
  /// ours are registered once.
  package func change(_ registration: UInt32, events: UInt32) {
    let s = state
    precondition(Int(registration) < s.value.registrationCapacity, "a registration of this loop")
    let entry = unsafe s.value.registrations + Int(registration)
    let data = unsafe UInt64(entry.pointee.generation) << 32 | UInt64(registration)
    _ = unsafe fl_epoll_change(s.value.epoll, entry.pointee.fd, data, events)
  }

  /// Forgets a registration; events already fetched for it are dropped. The descriptor is the
  /// caller's to close, which also takes it out of epoll.
  package func unregister(_ registration: UInt32) {
    let s = state
    precondition(Int(registration) < s.value.registrationCapacity, "a registration of this loop")
    let entry = unsafe s.value.registrations + Int(registration)
    unsafe entry.pointee.generation &+= 1
    unsafe entry.pointee.callback = nil
    unsafe entry.pointee.fd = -1
    unsafe entry.pointee.nextFree = s.value.freeRegistration
    s.value.freeRegistration = Int32(truncatingIfNeeded: registration)
  }

  /// Forgets a registration whose descriptor stays open.
  package func release(_ registration: UInt32) {
    let s = state
    precondition(Int(registration) < s.value.registrationCapacity, "a registration of this loop")
    _ = unsafe fl_epoll_remove(s.value.epoll, s.value.registrations[Int(registration)].fd)
    unregister(registration)
  }

  // MARK: Timers and deferred calls

  /// Calls back once, `milliseconds` from now or up to a millisecond later.
  package func after(
    milliseconds: UInt64, context: UnsafeMutableRawPointer, tag: UInt64 = 0,
    _ callback: @escaping TimerCallback
  ) -> TimerID {
    let deadline = state.value.now / 1_000_000 &+ min(milliseconds, 1 << 40) &+ 1
    // A handle of its own: the thread sanitizer's build miscompiles the chain in one expression.
    let timers = state.value.timers
    return unsafe timers.value.arm(at: deadline, tag: tag, context: context, callback)
  }

  package func cancel(_ timer: TimerID) {
    let timers = state.value.timers
    if timer != .none { timers.value.cancel(timer) }
  }

  /// Calls back after the events at hand: how recursion between two connections is cut.
  package func later(
    context: UnsafeMutableRawPointer, tag: UInt64 = 0, _ callback: @escaping DeferredCallback
  ) {
    unsafe state.value.deferred.append(.init(callback: callback, context: context, tag: tag))
  }

  /// Calls back at the end of every wake-up, before waiting again.
  package func atBatchEnd(
    context: UnsafeMutableRawPointer, _ callback: @escaping DeferredCallback
  ) {
    unsafe state.value.atBatchEnd = (callback, context)
  }

  // MARK: Running

  /// Runs until `stop`.
  package func run() {
    let s = state
    while !s.value.stopping { turn(waitAtMost: 1000) }
  }

  /// Ends `run` after the calls at hand.
  package func stop() { state.value.stopping = true }

  /// One wake-up: waits at most `limit` milliseconds, then calls everything that is due.
  package func turn(waitAtMost limit: UInt64) {
    let s = state
    let wait = s.value.deferred.isEmpty ? s.value.timers.value.delay(limit: limit) : 0
    let n = unsafe fl_epoll_wait(
      s.value.epoll, s.value.events, Int32(State.eventCapacity), Int32(truncatingIfNeeded: wait))
    readClock()
    unsafe fl_flag_set(s.value.busySince.pointer, s.value.now)
    var index = 0
    while index < Int(n) {
      dispatch(index)
      index &+= 1
    }
    TimerWheel.advance(s.value.timers, to: s.value.now / 1_000_000)
    // Work that defers more work gets its turn in the next wake-up, so that sockets are not starved.
    var pending = s.value.deferred.count
    while pending > 0, let call = s.value.deferred.popFirst() {
      unsafe call.callback(call.context, call.tag)
      pending &-= 1
    }
    if let end = unsafe s.value.atBatchEnd { unsafe end.callback(end.context, 0) }
    unsafe fl_flag_set(s.value.busySince.pointer, 0)
  }

  private func dispatch(_ index: Int) {
    let s = state
    let event = unsafe s.value.events + index
    let data = unsafe fl_event_data(event)
    guard data != UInt64.max else { return s.value.mailbox.deliver(on: self) }
    let slot = Int(truncatingIfNeeded: data & 0xFFFF_FFFF)
    let entry = unsafe s.value.registrations + slot
    guard unsafe entry.pointee.generation == UInt32(truncatingIfNeeded: data >> 32),
      let callback = unsafe entry.pointee.callback, let context = unsafe entry.pointee.context
    else { return }
    unsafe callback(context, fl_event_flags(event))
  }

  private func readClock() {
    let s = state
    s.value.now = fl_monotonic_ns()
    if s.value.now &- s.value.realtimeTakenAt > 1_000_000_000 {
      s.value.realtimeTakenAt = s.value.now
      s.value.realtimeOffset = fl_realtime_ns() &- s.value.now
    }
  }
}

extension EventLoop.State {
  fileprivate mutating func growRegistrations() {
    let larger = UnsafeMutablePointer<Registration>.allocate(capacity: registrationCapacity * 2)
    unsafe larger.moveInitialize(from: registrations, count: registrationCapacity)
    unsafe registrations.deallocate()
    unsafe registrations = larger
    for index in (registrationCapacity..<registrationCapacity * 2).reversed() {
      unsafe (registrations + index).initialize(to: Registration(nextFree: freeRegistration))
      freeRegistration = Int32(truncatingIfNeeded: index)
    }
    registrationCapacity *= 2
  }
}

/// Calls that wait for the end of the events at hand, first in first out.
@safe
struct DeferredQueue: ~Copyable {
  @safe struct Call: BitwiseCopyable {
    let callback: DeferredCallback
    let context: UnsafeMutableRawPointer
    let tag: UInt64
  }

  // SAFETY: `calls` holds `capacity` entries, a power of two; indices are masked with it.
  private var calls: UnsafeMutablePointer<Call>
  private var capacity = 256
  private var head = 0
  private(set) var count = 0

  init() { unsafe calls = .allocate(capacity: 256) }

  deinit { unsafe calls.deallocate() }

  var isEmpty: Bool { count == 0 }

  mutating func append(_ call: Call) {
    if count == capacity {
      let larger = UnsafeMutablePointer<Call>.allocate(capacity: capacity * 2)
      for index in 0..<count {
        unsafe (larger + index).initialize(to: calls[(head + index) & (capacity - 1)])
      }
      unsafe calls.deallocate()
      unsafe calls = larger
      head = 0
      capacity *= 2
    }
    unsafe (calls + ((head + count) & (capacity - 1))).initialize(to: call)
    count += 1
  }

  mutating func popFirst() -> Call? {
    guard count > 0 else { return nil }
    let call = unsafe calls[head]
    head = (head + 1) & (capacity - 1)
    count -= 1
    return call
  }
}
