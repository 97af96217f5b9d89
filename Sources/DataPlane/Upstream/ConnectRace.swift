import CLinux
import Engine
import Telemetry
import Upstream

/// One connection to a host that has several addresses: attempts begin one after the other, the first
/// that succeeds is the connection, and the others are dropped (happy eyeballs, RFC 8305).
///
/// To the pool, the cluster's gauges and the circuit breakers it is one connection that is being made.
@safe
struct ConnectRace: ~Copyable {
  fileprivate let pool: Ref<HostPool>
  fileprivate let priority: RequestPriority
  fileprivate var attempts: ConnectionAttempts
  /// The attempts that run, at their place.
  fileprivate var runners = InlineArray<8, Ref<UpstreamConnection>?>(repeating: nil)
  fileprivate var staggerTimer = TimerID.none
  fileprivate var limitTimer = TimerID.none
  fileprivate var lastError: Int32 = 0

  /// Begins to connect; the pool hears how it ended, never from within this call.
  static func start(
    to addresses: Table<SocketAddress>, for pool: Ref<HostPool>, priority: RequestPriority
  ) {
    let config = pool.value.cluster.value.config
    // Freed by `end`, which every way through the race leads to once.
    let race = unsafe Ref<ConnectRace>(UnsafeMutablePointer<ConnectRace>.allocate(capacity: 1))
    unsafe race.pointer.initialize(
      to: ConnectRace(
        pool: pool, priority: priority,
        attempts: ConnectionAttempts(
          addresses, firstFamily: config.value.firstFamily,
          firstFamilyCount: config.value.firstFamilyCount)))
    race.value.limitTimer = unsafe race.loop.after(
      milliseconds: config.value.connectTimeout, context: race.raw
    ) { raw, _ in unsafe Ref<ConnectRace>(raw: raw).timedOut() }
    race.take(race.value.attempts.start())
  }
}

extension Ref where Value == ConnectRace {
  fileprivate var loop: EventLoop { value.pool.value.worker.value.loop }

  fileprivate func take(_ step: ConnectionAttempts.Step) {
    switch step {
    case .connect(let attempt, let armTimer):
      loop.cancel(value.staggerTimer)
      value.staggerTimer = .none
      if armTimer { startStagger() }
      begin(attempt)
    case .wait: return
    case .fail: lost(timedOut: false)
    }
  }

  private func startStagger() {
    value.staggerTimer = unsafe loop.after(
      milliseconds: ConnectionAttempts.stagger, context: raw
    ) { raw, _ in
      let race = unsafe Ref<ConnectRace>(raw: raw)
      race.value.staggerTimer = .none
      race.take(race.value.attempts.timerFired())
    }
  }

  private func begin(_ attempt: Int) {
    let worker = value.pool.value.worker
    let runner = worker.value.upstreams.take()
    value.runners[attempt] = runner
    value.pool.countAttempt(isFirst: attempt == 0)
    let error = runner.openRunner(
      to: value.attempts.address(attempt), in: self, attempt: attempt, for: value.pool, on: worker)
    guard error != 0 else { return }
    // What fails at once is told later, so that nobody is called from within `start`.
    unsafe loop.later(context: runner.raw, tag: UInt64(UInt32(bitPattern: error))) { raw, tag in
      let runner = unsafe UpstreamHandle(raw: raw)
      guard let race = runner.value.race else { return }
      race.ended(runner, error: Int32(bitPattern: UInt32(truncatingIfNeeded: tag)))
    }
  }

  /// One attempt has ended.
  func ended(_ runner: Ref<UpstreamConnection>, error: Int32) {
    value.runners[runner.value.attempt] = nil
    runner.value.race = nil
    guard error != 0 else { return won(by: runner) }
    value.lastError = error
    runner.dropRunner()
    take(value.attempts.attemptFailed())
  }

  private func won(by runner: Ref<UpstreamConnection>) {
    let pool = value.pool
    runner.value.priority = value.priority
    end()
    pool.connectEnded(runner, error: 0, timedOut: false)
  }

  fileprivate func timedOut() {
    value.limitTimer = .none
    value.lastError = ETIMEDOUT
    lost(timedOut: true)
  }

  private func lost(timedOut: Bool) {
    let pool = value.pool
    let error = value.lastError
    // One that stands for the connection which did not come about.
    let runner = pool.value.worker.value.upstreams.take()
    runner.adopt(pool: pool, worker: pool.value.worker)
    runner.value.priority = value.priority
    end()
    pool.connectEnded(runner, error: error, timedOut: timedOut)
  }

  /// Drops the attempts that are left, and the race.
  private func end() {
    loop.cancel(value.staggerTimer)
    loop.cancel(value.limitTimer)
    for index in 0..<value.attempts.startedCount {
      guard let runner = value.runners[index] else { continue }
      runner.value.race = nil
      runner.dropRunner()
    }
    // SAFETY: allocated by `start`; no timer and no attempt names it any more.
    unsafe pointer.deinitialize(count: 1)
    unsafe pointer.deallocate()
  }
}
