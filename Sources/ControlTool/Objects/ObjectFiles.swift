import Glibc

/// The files that `-f` names.
package enum ObjectFiles {
  /// A file with the name that messages are to have.
  package struct File: Equatable, Sendable {
    package let name: String
    package let bytes: [UInt8]
  }

  private static let endings = [".yaml", ".yml", ".json"]
  /// Directories within directories, so that a link to a parent ends.
  private static let depth = 16

  /// Reads them: files whatever they are called, `-` for standard input, and of directories what ends as
  /// YAML and JSON do.
  /// - Parameter isRecursive: directories within directories, too.
  package static func read(_ paths: [String], isRecursive: Bool) throws(ToolError) -> [File] {
    var files: [File] = []
    for path in paths {
      guard path != "-", FilePath.isDirectory(path) else {
        files.append(
          File(name: path == "-" ? "standard input" : path, bytes: try FileText.read(path)))
        continue
      }
      let found = names(in: path, isRecursive ? depth : 1)
      guard !found.isEmpty else {
        throw ToolError(
          "'\(path)' has no .yaml, .yml or .json", remedy: isRecursive ? nil : "Look below with -R."
        )
      }
      for name in found { files.append(File(name: name, bytes: try FileText.read(name))) }
    }
    return files
  }

  /// The same, by their names.
  static func contents(
    _ paths: [String], isRecursive: Bool
  ) throws(ToolError) -> [String: [UInt8]] {
    Dictionary(
      try read(paths, isRecursive: isRecursive).map { ($0.name, $0.bytes) },
      uniquingKeysWith: { first, _ in first })
  }

  private static func names(in directory: String, _ depth: Int) -> [String] {
    guard depth > 0 else { return [] }
    return FileText.names(in: directory).sorted().filter { !$0.hasPrefix(".") }
      .flatMap { name -> [String] in
        let path = directory.hasSuffix("/") ? directory + name : directory + "/" + name
        if FilePath.isDirectory(path) { return names(in: path, depth - 1) }
        return endings.contains(where: name.hasSuffix) ? [path] : []
      }
  }

  /// The files as a form (RFC 7578), and its type. The boundary stands in none of them.
  package static func form(_ files: [File]) -> (type: String, body: [UInt8]) {
    var boundary = "fairlead"
    while files.contains(where: { contains($0.bytes, "\r\n--" + boundary) }) { boundary += "-x" }
    var body: [UInt8] = []
    for file in files {
      let name = file.name.filter { $0 != "\"" && !$0.isNewline }
      body += Array(
        ("--\(boundary)\r\ncontent-disposition: form-data; name=\"file\"; filename=\"\(name)\"\r\n"
          + "content-type: application/yaml\r\n\r\n").utf8)
      body += file.bytes + Array("\r\n".utf8)
    }
    return ("multipart/form-data; boundary=\(boundary)", body + Array("--\(boundary)--\r\n".utf8))
  }

  private static func contains(_ bytes: [UInt8], _ text: String) -> Bool {
    let wanted = Array(text.utf8)
    guard let first = wanted.first else { return true }
    var at = 0
    while let next = bytes[at...].firstIndex(of: first) {
      if bytes[next...].starts(with: wanted) { return true }
      at = next + 1
    }
    return false
  }
}
