import CLinux

/// Two counters that grow with every byte of a connection: those that it received, and those that it
/// was given to send. A thread that only reads may look at any time.
@safe
package struct ByteTally: BitwiseCopyable {
  // SAFETY: whoever lends cells keeps them for as long as connections are open, and lends them to
  // connections of one thread only. They are written with relaxed atomic stores.
  private let received: UnsafeMutablePointer<UInt64>?
  private let sent: UnsafeMutablePointer<UInt64>?

  package static var none: ByteTally { unsafe ByteTally(received: nil, sent: nil) }

  package init(received: UnsafeMutablePointer<UInt64>?, sent: UnsafeMutablePointer<UInt64>?) {
    unsafe self.received = received
    unsafe self.sent = sent
  }

  @inline(__always)
  func addReceived(_ count: Int) {
    if let cell = unsafe received { unsafe telemetry_add_single_writer(cell, UInt64(count)) }
  }

  @inline(__always)
  func addSent(_ count: Int) {
    if let cell = unsafe sent { unsafe telemetry_add_single_writer(cell, UInt64(count)) }
  }
}
