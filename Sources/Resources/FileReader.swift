import Glibc

/// Why a file could not be read.
package struct FileError: Error, Equatable {
  package let message: String

  package init(message: String) { self.message = message }
}

/// Reads whole files: configurations, and what they refer to.
package enum FileReader {
  /// The bytes of a file, or why not. A bound, because the name may lead to a device that never
  /// ends.
  package static func read(_ path: String, atMost limit: Int) -> Result<[UInt8], FileError> {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return .failure(failure("cannot open", path)) }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 64 * 1024)
    while true {
      // SAFETY: the buffer is lent for the call alone.
      let count = unsafe chunk.withUnsafeMutableBytes { buffer in
        unsafe Glibc.read(descriptor, buffer.baseAddress, buffer.count)
      }
      if count == 0 { return .success(bytes) }
      if count < 0 {
        if errno == EINTR { continue }
        return .failure(failure("cannot read", path))
      }
      guard bytes.count + count <= limit else {
        return .failure(FileError(message: "'\(path)' is larger than the limit of \(limit) bytes"))
      }
      bytes += chunk[..<count]
    }
  }

  private static func failure(_ what: String, _ path: String) -> FileError {
    let reason = unsafe String(cString: strerror(errno))
    return FileError(message: "\(what) '\(path)': \(reason)")
  }
}
