import MeshModel
import Resources

/// Where objects are kept that came over HTTP: a directory among those that are followed, with a file for
/// each object. People may read, copy and remove these files as they do their own.
struct AppliedDirectory {
  let path: String

  /// Names that are no file's name, or too long for one, are refused before anything is written.
  ///
  /// A file's name has 255 bytes; kind, namespace, and what a file is called while it is written take 103.
  static let nameBytes = 150

  var history: String { path + "/.history" }

  /// The file of an object. Neither a kind nor a namespace has a dot, so no two objects have one file.
  func file(of id: ObjectID) -> String {
    "\(path)/\(id.kind.singular).\(id.namespace.isEmpty ? "_" : id.namespace).\(id.name).yaml"
  }

  /// Why an object cannot be kept, and which field of its metadata says so; nil when it can.
  static func problem(with id: ObjectID) -> (field: String, text: String)? {
    if !id.namespace.isEmpty, !isLabel(id.namespace) {
      return (
        "namespace",
        "'\(id.namespace)' is no name of a namespace; expected at most 63 lower-case letters, digits "
          + "and '-', with a letter or digit at both ends"
      )
    }
    let parts = id.name.split(separator: ".", omittingEmptySubsequences: false)
    guard id.name.utf8.count <= nameBytes, parts.allSatisfy({ isLabel(String($0)) }) else {
      return (
        "name",
        "'\(id.name)' is no name of an object; expected at most \(nameBytes) lower-case letters, digits, "
          + "'-' and '.', with a letter or digit at both ends"
      )
    }
    return nil
  }

  /// RFC 1123 §2.1, in lower case.
  private static func isLabel(_ text: String) -> Bool {
    let bytes = Array(text.utf8)
    func isAlphanumeric(_ byte: UInt8) -> Bool {
      (byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "z"))
        || (byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9"))
    }
    guard let first = bytes.first, let last = bytes.last, bytes.count <= 63 else { return false }
    return isAlphanumeric(first) && isAlphanumeric(last)
      && bytes.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "-") }
  }

  /// Makes the directories, where there are none.
  func make() throws(FileError) {
    try PrivateFile.makeDirectory(path)
    try PrivateFile.makeDirectory(history)
  }

  /// Brings the files to what a record says; done again, it changes nothing.
  func carryOut(_ changes: [ChangeRecord.Change]) throws(FileError) {
    for change in changes {
      if let after = change.after {
        try PrivateFile.write(file(of: change.id), after)
      } else {
        let file = file(of: change.id)
        guard PrivateFile.remove(file) || !PrivateFile.exists(file) else {
          throw FileError(message: "cannot remove '\(file)'")
        }
      }
    }
  }
}
