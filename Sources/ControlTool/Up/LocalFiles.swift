import Glibc
import MeshAnalysis
import MeshModel
import Resources

/// The files that the user gave: followed, and copied to where the control plane reads.
struct LocalFiles {
  private let paths: [String]
  private let target: String
  private var contents: [String: [UInt8]] = [:]
  private var stamps: [String: Stamp] = [:]
  private var store = MeshStore(check: ObjectCheck.check)

  /// What tells that a file may have changed.
  private struct Stamp: Equatable {
    let inode: UInt64
    let size: Int64
    let seconds: Int
    let nanoseconds: Int
  }

  /// - Parameters:
  ///   - paths: files, and directories of files.
  ///   - target: the directory for copies.
  init(_ paths: [String], target: String) throws(ToolError) {
    var absolute: [String] = []
    for path in paths {
      guard let found = FilePath.absolute(path) else {
        throw ToolError("there is no file '\(path)'")
      }
      absolute.append(found)
    }
    self.paths = absolute
    self.target = target
  }

  var objects: [MeshObject] { store.objects }

  /// Takes over what has changed since the last time; returns what is wrong now and was not before,
  /// and whether anything has changed.
  mutating func follow() throws(ToolError) -> (changed: Set<ObjectID>, problems: [Diagnostic]) {
    let files = paths.flatMap(Self.files)
    var fresh: [String: Stamp] = [:]
    for file in files { fresh[file] = Self.stamp(of: file) }
    guard fresh != stamps else { return ([], []) }
    for (file, stamp) in fresh where stamps[file] != stamp {
      let bytes = try FileText.read(file)
      contents[file] = bytes
      try FilePath.write(bytes, to: copy(of: file))
    }
    for file in stamps.keys where fresh[file] == nil {
      contents[file] = nil
      _ = unsafe unlink(copy(of: file))
    }
    stamps = fresh
    let before = Set(store.diagnostics)
    let changed = store.update(contents)
    return (changed, store.diagnostics.filter { !before.contains($0) })
  }

  /// Names may be the same in two directories: so the whole path is the copy's name.
  private func copy(of file: String) -> String {
    target + "/" + file.dropFirst().map { $0 == "/" ? "_" : String($0) }.joined()
  }

  private static func files(_ path: String) -> [String] {
    guard FilePath.isDirectory(path) else { return [path] }
    return FileText.names(in: path).sorted().filter { name in
      !name.hasPrefix(".") && [".yaml", ".yml", ".json"].contains { name.hasSuffix($0) }
    }.map { path + "/" + $0 }
  }

  /// Nil while there is no such file: an editor may be replacing it.
  private static func stamp(of file: String) -> Stamp? {
    var status = stat()
    guard unsafe stat(file, &status) == 0 else { return nil }
    return Stamp(
      inode: UInt64(status.st_ino), size: Int64(status.st_size), seconds: status.st_mtim.tv_sec,
      nanoseconds: status.st_mtim.tv_nsec)
  }
}
