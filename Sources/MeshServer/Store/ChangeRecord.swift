import MeshModel

/// One change of the applied objects, with what they were before and are after it.
struct ChangeRecord: Equatable {
  /// One object's part. No content: there was none, or there is none any more.
  struct Change: Equatable {
    let id: ObjectID
    var before: [UInt8]?
    var after: [UInt8]?

    /// In one word, for people.
    var outcome: String {
      switch (before, after) {
      case (nil, _): "created"
      case (_, nil): "deleted"
      default: "configured"
      }
    }
  }

  var revision: UInt64
  /// Nanoseconds since 1970.
  var time: UInt64
  var author: String
  /// `apply`, `delete`, or what was rolled back to.
  var action: String
  var changes: [Change]

  private static let mark = "fairlead-change 1"

  /// The record as a file: lines, an empty one, and the contents one behind the other.
  var bytes: [UInt8] {
    var head = Self.mark + "\n"
    head += "revision \(revision)\ntime \(time)\n"
    head += "author \(Self.line(author))\naction \(Self.line(action))\n"
    var contents: [UInt8] = []
    for change in changes {
      let namespace = change.id.namespace.isEmpty ? "-" : change.id.namespace
      let sizes = [change.before, change.after].map { $0.map { "\($0.count)" } ?? "-" }
      head += "object \(change.id.kind.rawValue) \(namespace) \(change.id.name) "
      head += sizes.joined(separator: " ") + "\n"
      contents += (change.before ?? []) + (change.after ?? [])
    }
    return Array((head + "\n").utf8) + contents
  }

  private static func line(_ text: String) -> String {
    String(
      String.UnicodeScalarView(text.unicodeScalars.filter { $0.value >= 0x20 && $0 != "\u{7F}" }))
  }

  init(
    revision: UInt64, time: UInt64, author: String, action: String, changes: [Change]
  ) {
    self.revision = revision
    self.time = time
    self.author = author
    self.action = action
    self.changes = changes
  }

  /// Reads a record; nil when it is none, or not whole.
  init?(_ bytes: [UInt8]) {
    var rest = bytes[...]
    func takeLine() -> String? {
      guard let end = rest.firstIndex(of: UInt8(ascii: "\n")) else { return nil }
      defer { rest = rest[(end + 1)...] }
      return String(decoding: rest[..<end], as: UTF8.self)
    }
    func takeField(_ name: String) -> String? {
      // By bytes: what follows may be part of a character that begins with the space.
      guard let line = takeLine(), line.utf8.starts(with: (name + " ").utf8) else { return nil }
      return String(decoding: line.utf8.dropFirst(name.utf8.count + 1), as: UTF8.self)
    }
    guard takeLine() == Self.mark, let revision = takeField("revision").flatMap({ UInt64($0) }),
      let time = takeField("time").flatMap({ UInt64($0) }), let author = takeField("author"),
      let action = takeField("action")
    else { return nil }
    self.init(revision: revision, time: time, author: author, action: action, changes: [])
    var sizes: [(Int?, Int?)] = []
    while true {
      // What ends here has not been written to its end.
      guard let line = takeLine() else { return nil }
      if line.isEmpty { break }
      let words = line.split(separator: " ").map(String.init)
      guard words.count == 6, words[0] == "object", let kind = MeshKind(rawValue: words[1]),
        let before = Self.size(words[4]), let after = Self.size(words[5])
      else { return nil }
      let namespace = words[2] == "-" ? "" : words[2]
      changes.append(Change(id: ObjectID(kind, namespace, words[3])))
      sizes.append((before, after))
    }
    func take(_ size: Int?) -> [UInt8]?? {
      guard let size else { return .some(nil) }
      guard size <= rest.count else { return nil }
      defer { rest = rest.dropFirst(size) }
      return Array(rest.prefix(size))
    }
    for (index, size) in sizes.enumerated() {
      guard let before = take(size.0), let after = take(size.1) else { return nil }
      changes[index].before = before
      changes[index].after = after
    }
    guard rest.isEmpty else { return nil }
  }

  private static func size(_ word: String) -> Int?? {
    if word == "-" { return .some(nil) }
    guard let size = Int(word), size >= 0 else { return nil }
    return .some(size)
  }
}
