import CLinux

/// The pipe through which a loop moves bytes from one socket to another within the kernel
/// (`splice(2)`). It is empty between two moves, so one is enough for all connections of the loop.
struct SplicePipe: BitwiseCopyable {
  /// What one move takes at most: the size that Linux grants without privileges. The pipe holds as many
  /// pieces as this has pages, and a piece may be as small as a packet.
  static let capacity = 1024 * 1024

  private var ends = fl_pipe_ends(reading: -1, writing: -1)

  /// The two ends, opened when they are first needed; nil where the process may have no more of them.
  mutating func open() -> fl_pipe_ends? {
    if ends.reading < 0 {
      var opened = fl_pipe_ends(reading: -1, writing: -1)
      guard unsafe fl_pipe_open(&opened, Int32(Self.capacity)) == 0 else { return nil }
      ends = opened
    }
    return ends
  }

  /// Throws away whatever is in it.
  mutating func discard() {
    _ = close(ends.reading)
    _ = close(ends.writing)
    ends = fl_pipe_ends(reading: -1, writing: -1)
  }
}
