import CLinux
import Glibc
import Resources

/// The files of a directory in which people write about their mesh: every `.yaml`, `.yml` and `.json`
/// in it and below, but what begins with a dot.
struct MeshDirectory {
  let path: String

  /// What stands in the files, by their paths; and every directory that was looked into.
  struct Content {
    var files: [String: [UInt8]] = [:]
    var directories: [String] = []
    /// What could not be read, a line each.
    var problems: [String] = []
    /// The paths of files and directories that could not be read.
    var unreadable: [String] = []

    /// Keeps what an earlier look has found where this one could not look: that something cannot be read
    /// does not mean that it is gone.
    mutating func keep(_ earlier: [String: [UInt8]]) {
      for path in unreadable {
        for (file, bytes) in earlier where file == path || file.hasPrefix(path + "/") {
          files[file] = bytes
        }
      }
    }
  }

  /// A bound on directories within directories, so that a link to a parent ends.
  private static let depth = 8

  /// Reads everything. A path that is a file stands for that file.
  func read() -> Content {
    var content = Content()
    if Self.isDirectory(path) {
      look(into: path, depth: 0, &content)
    } else {
      take(path, &content)
    }
    return content
  }

  private func look(into directory: String, depth: Int, _ content: inout Content) {
    guard depth < Self.depth else { return }
    guard let names = Self.names(in: directory) else {
      content.problems.append("\(directory): cannot be read")
      content.unreadable.append(directory)
      return
    }
    content.directories.append(directory)
    for name in names.sorted() where !name.hasPrefix(".") {
      let path = directory + "/" + name
      if Self.isDirectory(path) {
        look(into: path, depth: depth + 1, &content)
      } else if [".yaml", ".yml", ".json"].contains(where: name.hasSuffix) {
        take(path, &content)
      }
    }
  }

  private func take(_ path: String, _ content: inout Content) {
    switch FileReader.read(path, atMost: YAMLLimits.bytes) {
    case .success(let bytes): content.files[path] = bytes
    case .failure(let error):
      content.problems.append("\(path): \(error.message)")
      content.unreadable.append(path)
    }
  }

  static func isDirectory(_ path: String) -> Bool {
    var status = stat()
    guard unsafe stat(path, &status) == 0 else { return false }
    return status.st_mode & S_IFMT == S_IFDIR
  }

  static func names(in directory: String) -> [String]? {
    guard let stream = unsafe opendir(directory) else { return nil }
    // SAFETY: open until the function returns; an entry is read before the next is asked for.
    defer { unsafe _ = closedir(stream) }
    var names: [String] = []
    while let entry = unsafe readdir(stream) {
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { tuple in
        unsafe tuple.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
      }
      names.append(name)
    }
    return names
  }
}
