import CLinux

/// What can stand between a connection and its socket: TLS. A table of functions that lasts as long
/// as the process, each called with the context that belongs to one connection.
///
/// The engine watches the socket; the transport reads and writes it, and may hold bytes back, which
/// is what `mayRead` asks about. A connection without one pays a single predictable branch.
@safe @usableFromInline
package struct Transport: BitwiseCopyable {
  package typealias Context = UnsafeMutableRawPointer
  /// A number of bytes, or minus an errno: EAGAIN to be called again after the next event.
  package typealias Step = @convention(c) (Context) -> Int

  /// 0 when it is done.
  package let handshake: Step
  /// 0 at the end, if the peer has said that it is one.
  package let read: @convention(c) (Context, UnsafeMutablePointer<UInt8>, Int) -> Int
  package let write: @convention(c) (Context, UnsafePointer<UInt8>, Int) -> Int
  /// Reading again may bring something, without the socket's saying so.
  package let mayRead: @convention(c) (Context) -> Bool
  /// The socket may have more to read; whether it will say nothing further.
  package let wake: @convention(c) (Context, Bool) -> Void
  /// Tells the peer that nothing more will come. False: the socket did not take it, and the next event
  /// is the time to try again.
  package let sayGoodbye: @convention(c) (Context) -> Bool
  /// The connection is closed.
  package let release: @convention(c) (Context) -> Void

  package init(
    handshake: @escaping Step,
    read: @escaping @convention(c) (Context, UnsafeMutablePointer<UInt8>, Int) -> Int,
    write: @escaping @convention(c) (Context, UnsafePointer<UInt8>, Int) -> Int,
    mayRead: @escaping @convention(c) (Context) -> Bool,
    wake: @escaping @convention(c) (Context, Bool) -> Void,
    sayGoodbye: @escaping @convention(c) (Context) -> Bool,
    release: @escaping @convention(c) (Context) -> Void
  ) {
    unsafe self.handshake = handshake
    unsafe self.read = read
    unsafe self.write = write
    unsafe self.mayRead = mayRead
    unsafe self.wake = wake
    unsafe self.sayGoodbye = sayGoodbye
    unsafe self.release = release
  }
}
