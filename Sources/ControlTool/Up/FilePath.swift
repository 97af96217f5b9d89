import Glibc

/// Paths, files and directories, without Foundation.
enum FilePath {
  /// `/a/b` of `/a/b/c`.
  static func directory(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  /// `c` of `/a/b/c`.
  static func name(of path: String) -> String {
    path.lastIndex(of: "/").map { String(path[path.index(after: $0)...]) } ?? path
  }

  /// The same place, whatever the working directory; nil when there is nothing.
  static func absolute(_ path: String) -> String? {
    guard let found = unsafe realpath(path, nil) else { return nil }
    // SAFETY: `realpath` allocated it, and it ends with a zero byte.
    defer { unsafe free(found) }
    return unsafe String(cString: found)
  }

  static func isDirectory(_ path: String) -> Bool {
    var status = stat()
    guard unsafe stat(path, &status) == 0 else { return false }
    return status.st_mode & S_IFMT == S_IFDIR
  }

  static func makeDirectory(_ path: String) throws(ToolError) {
    guard unsafe mkdir(path, 0o700) != 0, errno != EEXIST || !isDirectory(path) else { return }
    throw ToolError("cannot make the directory '\(path)': \(reason(errno))")
  }

  /// Puts a whole file in a file's place, so that nobody reads half of it.
  static func write(_ bytes: [UInt8], to path: String) throws(ToolError) {
    let fresh = directory(of: path) + "/." + name(of: path) + ".new"
    let descriptor = unsafe open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else {
      throw ToolError("cannot write '\(path)': \(reason(errno))")
    }
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = unsafe rest.withUnsafeBytes {
        unsafe Glibc.write(descriptor, $0.baseAddress, $0.count)
      }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { break }
      rest = rest.dropFirst(count)
    }
    let isWhole = rest.isEmpty
    let code = errno
    close(descriptor)
    guard isWhole, unsafe rename(fresh, path) == 0 else {
      throw ToolError("cannot write '\(path)': \(reason(isWhole ? errno : code))")
    }
  }

  /// Removes a directory of files, and directories of files in it.
  static func remove(_ path: String) {
    for name in FileText.names(in: path) {
      let inner = path + "/" + name
      if unsafe unlink(inner) != 0, isDirectory(inner) { remove(inner) }
    }
    _ = unsafe rmdir(path)
  }

  static func reason(_ code: Int32) -> String {
    // SAFETY: the text is a constant of the C library's.
    unsafe strerror(code).map { unsafe String(cString: $0) } ?? "error \(code)"
  }

  /// An environment variable.
  static func variable(_ name: String) -> String? {
    // SAFETY: nobody changes the environment of this process.
    unsafe getenv(name).map { unsafe String(cString: $0) }
  }
}
