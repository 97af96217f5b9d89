import CLinux
import Glibc

/// Where a log goes.
package enum LogDestination: Hashable, Sendable, CustomStringConvertible {
  case file(String)
  case standardOutput
  case standardError

  package var description: String {
    switch self {
    case .file(let path): path
    case .standardOutput: "standard output"
    case .standardError: "standard error"
    }
  }
}

/// Why a log cannot be opened.
package struct LogOpenError: Error, Equatable, CustomStringConvertible {
  package let description: String
}

/// An open log. Belongs to the writer's thread.
///
/// A regular file is written to at once. Anything else (a pipe, a terminal) may stop taking bytes,
/// and is asked first: the writer has other logs to serve meanwhile. Our own descriptors are
/// non-blocking; standard output belongs to others too, so its mode stays as it is and it gets no
/// more at a time than a pipe that has room takes without blocking.
struct LogFile {
  enum Outcome: Equatable {
    case done
    /// Takes nothing now; try again when the descriptor is writable.
    case wait
    /// The rest of these bytes cannot be written.
    case failed(Int32)
  }

  let destination: LogDestination
  private(set) var descriptor: Int32
  private let isRegular: Bool
  /// What a pipe with room takes without blocking (`PIPE_BUF`).
  private static let chunk = 4096

  init(_ destination: LogDestination) throws(LogOpenError) {
    self.destination = destination
    switch destination {
    case .standardOutput: descriptor = STDOUT_FILENO
    case .standardError: descriptor = STDERR_FILENO
    case .file(let path):
      // Non-blocking, so that a FIFO without a reader is an error and not a hang.
      let flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK
      descriptor = unsafe telemetry_open(path, flags, 0o644)
      guard descriptor >= 0 else {
        throw LogOpenError(
          description: "unable to open \(path): \(unsafe String(cString: strerror(errno)))")
      }
    }
    isRegular = telemetry_is_regular(descriptor)
  }

  /// Writes from `offset` on; `offset` then says how far it came.
  func write(_ bytes: LogBytes, from offset: inout Int) -> Outcome {
    while offset < bytes.count {
      if !isRegular && !isWritable { return .wait }
      let length = isRegular ? bytes.count - offset : min(Self.chunk, bytes.count - offset)
      guard let start = unsafe bytes.start else { return .done }
      let written = unsafe Glibc.write(descriptor, start + offset, length)
      if written >= 0 {
        offset += written
        continue
      }
      switch errno {
      case EINTR: continue
      case EAGAIN: return .wait
      default: return .failed(errno)
      }
    }
    return .done
  }

  private var isWritable: Bool {
    var request = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
    return unsafe poll(&request, 1, 0) > 0
  }

  /// Closes what was opened here.
  func close() {
    if case .file = destination { Glibc.close(descriptor) }
  }
}
