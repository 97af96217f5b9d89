import CLinux
import Engine

/// Signals become messages to the loop: a handler only notes that one came, and wakes it.
enum ControlSignals {
  nonisolated(unsafe) private static let pending = Ref<fl_cell>.immortal(fl_cell())
  nonisolated(unsafe) private static var mailbox: Mailbox?

  /// SIGTERM and SIGINT end, SIGPIPE and SIGHUP do nothing.
  static func install(on mailbox: Mailbox) {
    unsafe self.mailbox = mailbox
    // The mailbox and the flag are made before a handler can run.
    _ = unsafe fl_flag_get(pending.pointer)
    signal(SIGPIPE) { _ in }
    signal(SIGHUP) { _ in }
    signal(SIGTERM) { _ in ControlSignals.note() }
    signal(SIGINT) { _ in ControlSignals.note() }
  }

  private static func note() {
    unsafe fl_flag_set(pending.pointer, 1)
    unsafe mailbox?.wake()
  }

  /// The process is to end.
  static func takeEnd() -> Bool {
    let came = unsafe fl_flag_get(pending.pointer) != 0
    if came { unsafe fl_flag_set(pending.pointer, 0) }
    return came
  }
}
