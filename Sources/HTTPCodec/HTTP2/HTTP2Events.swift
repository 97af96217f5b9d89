/// What an HTTP/2 session tells its owner: functions without captures, each with the owner's context,
/// and that of the stream, as the owner gave them.
@safe
package struct HTTP2Events: BitwiseCopyable {
  package typealias Owner = UnsafeMutableRawPointer
  package typealias Stream = UnsafeMutableRawPointer

  /// The peer opens a stream. Its context; nil refuses it.
  package let opened: @convention(c) (Owner, Int32) -> Stream?
  /// A header section begins on a stream that there is: the response, or trailers.
  package let sectionBegan: @convention(c) (Owner, Stream) -> Void
  /// One field of the section: name, its length, value, its length.
  package let field:
    @convention(c) (Owner, Stream, UnsafePointer<UInt8>, Int, UnsafePointer<UInt8>, Int) -> Void
  /// The section is whole; true when the stream ends with it.
  package let sectionEnded: @convention(c) (Owner, Stream, Bool) -> Void
  package let data: @convention(c) (Owner, Stream, UnsafePointer<UInt8>, Int) -> Void
  /// The peer ends its side with the data it sent.
  package let dataEnded: @convention(c) (Owner, Stream) -> Void
  /// Our last frame on the stream has left.
  package let sentLast: @convention(c) (Owner, Stream) -> Void
  /// The stream is gone, with this error code; true when the peer reset it. Its context is not used
  /// any more.
  package let closed: @convention(c) (Owner, Stream, UInt32, Bool) -> Void
  /// The peer goes: the last stream it has dealt with, and an error code.
  package let goingAway: @convention(c) (Owner, Int32, UInt32) -> Void
  /// The peer's settings are known, or have changed.
  package let settings: @convention(c) (Owner) -> Void
  /// The peer has answered a ping.
  package let pong: @convention(c) (Owner) -> Void
  /// How many bytes of the stream's body can be sent, at most as many as asked for. What they end, an
  /// `HTTP2BodyEnd`, is written to the last argument.
  package let available: @convention(c) (Owner, Stream, Int, UnsafeMutablePointer<UInt8>) -> Int
  /// Sends bytes; false when the connection takes no more for now, and then none were taken.
  package let write: @convention(c) (Owner, UnsafePointer<UInt8>, Int) -> Bool
  /// Sends a DATA frame: its head of nine bytes, then so many bytes of the stream's body. How that
  /// went is an `HTTP2BodyWrite`.
  package let writeBody: @convention(c) (Owner, Stream, UnsafePointer<UInt8>, Int) -> UInt8

  package init(
    opened: @escaping @convention(c) (Owner, Int32) -> Stream?,
    sectionBegan: @escaping @convention(c) (Owner, Stream) -> Void,
    field:
      @escaping @convention(c) (
        Owner, Stream, UnsafePointer<UInt8>, Int, UnsafePointer<UInt8>, Int
      ) -> Void,
    sectionEnded: @escaping @convention(c) (Owner, Stream, Bool) -> Void,
    data: @escaping @convention(c) (Owner, Stream, UnsafePointer<UInt8>, Int) -> Void,
    dataEnded: @escaping @convention(c) (Owner, Stream) -> Void,
    sentLast: @escaping @convention(c) (Owner, Stream) -> Void,
    closed: @escaping @convention(c) (Owner, Stream, UInt32, Bool) -> Void,
    goingAway: @escaping @convention(c) (Owner, Int32, UInt32) -> Void,
    settings: @escaping @convention(c) (Owner) -> Void,
    pong: @escaping @convention(c) (Owner) -> Void,
    available:
      @escaping @convention(c) (
        Owner, Stream, Int, UnsafeMutablePointer<UInt8>
      ) -> Int,
    write: @escaping @convention(c) (Owner, UnsafePointer<UInt8>, Int) -> Bool,
    writeBody: @escaping @convention(c) (Owner, Stream, UnsafePointer<UInt8>, Int) -> UInt8
  ) {
    unsafe self.opened = opened
    unsafe self.sectionBegan = sectionBegan
    unsafe self.field = field
    unsafe self.sectionEnded = sectionEnded
    unsafe self.data = data
    unsafe self.dataEnded = dataEnded
    unsafe self.sentLast = sentLast
    unsafe self.closed = closed
    unsafe self.goingAway = goingAway
    unsafe self.settings = settings
    unsafe self.pong = pong
    unsafe self.available = available
    unsafe self.write = write
    unsafe self.writeBody = writeBody
  }
}

/// What became of a DATA frame.
package enum HTTP2BodyWrite: UInt8 {
  case sent
  /// The connection takes no more for now, and nothing of it was taken.
  case blocked
  /// The bytes are no longer there, because the stream was given up meanwhile.
  case gone
}

/// What ends with the bytes at hand.
package enum HTTP2BodyEnd: UInt8 {
  /// Nothing: more may follow.
  case nothing
  /// The stream.
  case stream
  /// The body: trailers have been submitted.
  case body
}
