import CLinux

/// The one way into a loop from another thread: a lock-free queue and an eventfd. For configuration,
/// endpoints and life-cycle; a request never sends a message.
@safe
package struct Mailbox: @unchecked Sendable {
  // `@unchecked`: `inbox` is only touched through the atomic operations of CLinux, and never freed.
  // The thread sanitizer's run of `MailboxTests` would catch a breach.
  private let inbox: Ref<fl_inbox>
  let fd: Int32

  init() {
    unsafe inbox = unsafe .immortal(fl_inbox())
    fd = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC))
    precondition(fd >= 0, "an eventfd is available")
  }

  private final class Letter {
    let body: @Sendable (EventLoop) -> Void
    init(_ body: @escaping @Sendable (EventLoop) -> Void) { self.body = body }
  }

  /// Has `body` called on the loop's thread, in the order in which this thread posted.
  package func post(_ body: @escaping @Sendable (EventLoop) -> Void) {
    let node = UnsafeMutablePointer<fl_node>.allocate(capacity: 1)
    // SAFETY: the node and the letter are released by `deliver`, which takes each node once.
    unsafe node.initialize(
      to: fl_node(next: nil, payload: Unmanaged.passRetained(Letter(body)).toOpaque()))
    if unsafe fl_inbox_push(inbox.pointer, node) == 1 { wake() }
  }

  /// Makes the loop turn; safe in a signal handler.
  package func wake() {
    var one: UInt64 = 1
    _ = unsafe write(fd, &one, 8)
  }

  func deliver(on loop: EventLoop) {
    var drained: UInt64 = 0
    _ = unsafe read(fd, &drained, 8)
    var node = unsafe fl_inbox_take(inbox.pointer)
    while let current = unsafe node {
      unsafe node = current.pointee.next
      if let payload = unsafe current.pointee.payload {
        unsafe Unmanaged<Letter>.fromOpaque(payload).takeRetainedValue().body(loop)
      }
      unsafe current.deallocate()
    }
  }
}
