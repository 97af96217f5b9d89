import Glibc

/// Files of objects that a command is given: by name, as directories, or on standard input.
enum ObjectFiles {
  /// A bound on directories within directories, so that a link to a parent ends.
  private static let depth = 8

  /// What stands in all of them, by their names.
  /// - Parameter isRecursive: directories within directories, too.
  static func read(
    _ paths: [String], isRecursive: Bool
  ) throws(ToolError) -> [String: [UInt8]] {
    var found: [String: [UInt8]] = [:]
    for path in paths {
      guard path != "-", FilePath.isDirectory(path) else {
        found[path] = try FileText.read(path)
        continue
      }
      for file in files(in: path, depth: isRecursive ? depth : 1) {
        found[file] = try FileText.read(file)
      }
    }
    return found
  }

  private static func files(in directory: String, depth: Int) -> [String] {
    FileText.names(in: directory).sorted().filter { !$0.hasPrefix(".") }.flatMap {
      name -> [String] in
      let path = directory.hasSuffix("/") ? directory + name : directory + "/" + name
      if FilePath.isDirectory(path) {
        return depth > 1 ? files(in: path, depth: depth - 1) : []
      }
      return [".yaml", ".yml", ".json"].contains(where: name.hasSuffix) ? [path] : []
    }
  }
}
