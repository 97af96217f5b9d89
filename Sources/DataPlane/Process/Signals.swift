import CLinux
import Engine

/// Signals become messages to the main loop: a handler only notes which came, and wakes it.
enum Signals {
  nonisolated(unsafe) private static let pending = Ref<fl_cell>.immortal(fl_cell())
  nonisolated(unsafe) private static var mailbox: Mailbox?

  static let terminate: UInt64 = 1
  static let reopen: UInt64 = 2
  static let terminateAgain: UInt64 = 4

  /// SIGTERM and SIGINT end, SIGUSR1 reopens logs, SIGPIPE and SIGHUP do nothing.
  static func install(on mailbox: Mailbox) {
    unsafe self.mailbox = mailbox
    // The mailbox and the flag are made before a handler can run.
    _ = unsafe fl_flag_get(pending.pointer)
    signal(SIGPIPE) { _ in }
    signal(SIGHUP) { _ in }
    signal(SIGTERM) { _ in Signals.note(Signals.terminate) }
    signal(SIGINT) { _ in Signals.note(Signals.terminate) }
    signal(SIGUSR1) { _ in Signals.note(Signals.reopen) }
  }

  private static func note(_ signal: UInt64) {
    let before = unsafe fl_flag_get(pending.pointer)
    let more =
      signal == terminate && before & terminate != 0 ? signal | terminateAgain : signal
    unsafe fl_flag_set(pending.pointer, before | more)
    unsafe mailbox?.wake()
  }

  /// What came since the last call.
  static func take() -> UInt64 {
    let came = unsafe fl_flag_get(pending.pointer)
    if came != 0 { unsafe fl_flag_set(pending.pointer, 0) }
    return came
  }
}
