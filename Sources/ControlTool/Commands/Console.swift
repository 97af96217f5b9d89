import CLinux

/// What a command says beside its answer: standard output has the answer alone, for other programs.
enum Console {
  static func note(_ text: String) {
    let bytes = Array((text + "\n").utf8)
    _ = unsafe bytes.withUnsafeBytes {
      unsafe CLinux.write(STDERR_FILENO, $0.baseAddress, $0.count)
    }
  }

  /// A line of progress, written at once: somebody waits for it, also behind a pipe.
  static func say(_ text: String) {
    let bytes = Array((text + "\n").utf8)
    _ = unsafe bytes.withUnsafeBytes {
      unsafe CLinux.write(STDOUT_FILENO, $0.baseAddress, $0.count)
    }
  }

  static func write(_ text: String) { print(text, terminator: "") }
}
