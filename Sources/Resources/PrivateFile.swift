import Glibc

/// Files that nobody else may read, written whole or not at all.
package enum PrivateFile {
  /// Puts content in a file's place, readable by its owner alone unless it is public.
  /// - Parameter survivesPowerLoss: waits until the disk has it; else the file may be torn then, and
  ///   whoever reads it has to notice.
  package static func write(
    _ path: String, _ bytes: [UInt8], isPublic: Bool = false, survivesPowerLoss: Bool = true
  ) throws(FileError) {
    let fresh = try writeBeside(path, bytes, isPublic: isPublic, isSynced: survivesPowerLoss)
    guard unsafe rename(fresh, path) == 0 else { throw failure("cannot write", path) }
  }

  /// The same, unless there is such a file already: then it returns false and touches nothing.
  package static func create(_ path: String, _ bytes: [UInt8]) throws(FileError) -> Bool {
    let fresh = try writeBeside(path, bytes, isPublic: false, isSynced: true)
    defer { unsafe _ = unlink(fresh) }
    // A link, unlike a name that is moved, never takes another's place.
    if unsafe link(fresh, path) == 0 { return true }
    guard errno == EEXIST else { throw failure("cannot write", path) }
    return false
  }

  private static func writeBeside(
    _ path: String, _ bytes: [UInt8], isPublic: Bool, isSynced: Bool
  ) throws(FileError) -> String {
    // The number keeps two processes apart that share a directory.
    let fresh = "\(path).\(getpid()).new"
    unsafe _ = unlink(fresh)
    let descriptor = unsafe open(
      fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, isPublic ? 0o644 : 0o600)
    guard descriptor >= 0 else { throw failure("cannot write", fresh) }
    defer { close(descriptor) }
    var done = 0
    while done < bytes.count {
      let n = unsafe bytes.span.extracting(done...).withUnsafeBufferPointer {
        unsafe Glibc.write(descriptor, $0.baseAddress, $0.count)
      }
      if n < 0, errno == EINTR { continue }
      guard n > 0 else {
        let error = failure("cannot write", fresh)
        unsafe _ = unlink(fresh)
        throw error
      }
      done += n
    }
    guard !isSynced || fsync(descriptor) == 0 else { throw failure("cannot write", fresh) }
    return fresh
  }

  /// Makes a directory that only its owner looks into; one that is there is left alone.
  package static func makeDirectory(_ path: String) throws(FileError) {
    guard unsafe mkdir(path, 0o700) == 0 || errno == EEXIST else {
      throw failure("cannot make the directory", path)
    }
  }

  /// Throws unless nobody else can put anything into the directory.
  package static func checkDirectory(_ path: String) throws(FileError) {
    var status = stat()
    guard unsafe lstat(path, &status) == 0 else { throw failure("cannot look at", path) }
    guard status.st_mode & S_IFMT == S_IFDIR, status.st_uid == geteuid(),
      status.st_mode & 0o022 == 0
    else {
      throw FileError(
        message: "'\(path)' is no directory of this user's own that nobody else can write to")
    }
  }

  /// Puts one file in another's place.
  package static func move(_ path: String, over other: String) throws(FileError) {
    guard unsafe rename(path, other) == 0 else { throw failure("cannot replace", other) }
  }

  /// Takes a file away; false when somebody else has done so, or there was none.
  package static func remove(_ path: String) -> Bool { unsafe unlink(path) == 0 }

  package static func exists(_ path: String) -> Bool { unsafe access(path, F_OK) == 0 }

  private static func failure(_ what: String, _ path: String) -> FileError {
    FileError(message: "\(what) '\(path)': \(unsafe String(cString: strerror(errno)))")
  }
}
