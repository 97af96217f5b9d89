import Glibc
import ResourceModel
import Resources
import Telemetry

/// What a control plane has sent and was accepted, on disk, so that the next process can serve while the
/// control plane is not there. One file for each resource, readable by its owner alone and replaced whole;
/// what is torn, foreign or of another node is as good as not there.
///
/// Secrets are not kept: a key that lies in a file outlives what its owner believes, and those of a mesh
/// are short-lived, so that a proxy that could use an old one would soon fail all the same.
package final class ResourceCache {
  /// A resource that was kept.
  struct Stored {
    let name: String
    let version: String
    let value: [UInt8]
    /// When it was accepted: nanoseconds since 1970.
    let at: UInt64
  }

  /// What is counted.
  package enum Event {
    case stored
    case served
    /// A file that could not be used.
    case ignored
    case failed
  }

  private let directory: String
  /// Configuration is one node's: of another, nothing is used.
  private let node: String
  private let now: () -> UInt64
  /// What the files hold, by kind and file: the hash of the content; 0 where it is not known.
  private var known: [ResourceType: [String: UInt64]] = [:]
  private var hasFailed = false
  package var onEvent: (Event) -> Void = { _ in }
  /// Called with sentences for the log.
  package var onProblem: (String) -> Void = { _ in }

  private static let mark = "fairlead-xds-cache 1 "

  /// - Parameters:
  ///   - directory: this stream's own; made if it is not there.
  ///   - node: the proxy's id and cluster.
  ///   - now: nanoseconds since 1970.
  package init(_ directory: String, node: String, now: @escaping () -> UInt64) throws(FileError) {
    self.directory = directory
    self.node = XXHash64.hexadecimal(Array(node.utf8))
    self.now = now
    try PrivateFile.makeDirectory(directory)
    // What lies there is served: it has to be what we have put there.
    try PrivateFile.checkDirectory(directory)
    for type in Self.types {
      try PrivateFile.makeDirectory(folder(type))
      try PrivateFile.checkDirectory(folder(type))
      for file in Self.files(in: folder(type)) {
        if file.hasSuffix(".new") {
          // Of a process that ended while it wrote.
          _ = PrivateFile.remove(folder(type) + "/" + file)
        } else {
          known[type, default: [:]][file] = 0
        }
      }
    }
  }

  private static let types: [ResourceType] = [
    .clusters, .endpoints, .listeners, .routes, .extensions,
  ]

  private func folder(_ type: ResourceType) -> String {
    directory + "/" + (type.rawValue.split(separator: ".").last.map(String.init) ?? "")
  }

  /// How the file of a resource is called.
  static func file(_ name: String) -> String { XXHash64.hexadecimal(Array(name.utf8)) }

  // MARK: Writing

  /// Keeps a resource in the place of its older version.
  func store(_ type: ResourceType, _ name: String, version: String, _ value: [UInt8]) {
    guard Self.types.contains(type) else { return }
    let file = Self.file(name)
    let hash = XXHash64.hash(value) ^ XXHash64.hash(version)
    guard known[type]?[file] != hash else { return }
    let wire = Envoy_Service_Discovery_V3_Resource.with {
      $0.name = name
      $0.version = version
      $0.resource.typeURL = type.url
      $0.resource.value = .init(value)
    }
    // Of messages that were read before; only a defect could keep one from being written.
    guard let message: [UInt8] = try? wire.serializedBytes() else { return }
    let content = Array("\(node) \(now())\n".utf8) + message
    let head = Self.mark + XXHash64.hexadecimal(content) + "\n"
    do throws(FileError) {
      try PrivateFile.write(
        folder(type) + "/" + file, Array(head.utf8) + content, survivesPowerLoss: false)
      known[type, default: [:]][file] = hash
      hasFailed = false
      onEvent(.stored)
    } catch {
      onEvent(.failed)
      // Once, not for each of a thousand resources on a disk that is full.
      if !hasFailed { onProblem("resources cannot be kept: \(error.message)") }
      hasFailed = true
    }
  }

  /// There is no such resource any more.
  func remove(_ type: ResourceType, _ name: String) { remove(type, file: Self.file(name)) }

  /// Of this kind there are no others than these.
  func keepOnly(_ type: ResourceType, _ names: some Sequence<String>) {
    let files = Set(names.map(Self.file))
    for file in known[type, default: [:]].keys where !files.contains(file) {
      remove(type, file: file)
    }
  }

  private func remove(_ type: ResourceType, file: String) {
    guard known[type]?.removeValue(forKey: file) != nil else { return }
    _ = PrivateFile.remove(folder(type) + "/" + file)
  }

  // MARK: Reading

  /// Everything that was kept of a kind, in the order of names.
  func load(_ type: ResourceType) -> [Stored] {
    known[type, default: [:]].keys.compactMap { read(type, file: $0) }.sorted { $0.name < $1.name }
  }

  /// The resource of a name.
  func load(_ type: ResourceType, _ name: String) -> Stored? {
    let file = Self.file(name)
    guard known[type]?[file] != nil, let stored = read(type, file: file), stored.name == name else {
      return nil
    }
    return stored
  }

  private func read(_ type: ResourceType, file: String) -> Stored? {
    let path = folder(type) + "/" + file
    switch FileReader.read(path, atMost: XDSLimits.storedBytes) {
    case .success(let bytes):
      if let stored = parse(bytes, type) { return stored }
      onProblem("'\(path)' is not used: it is damaged, or another node's")
    case .failure(let error): onProblem("'\(path)' is not used: \(error.message)")
    }
    onEvent(.ignored)
    return nil
  }

  private func parse(_ bytes: [UInt8], _ type: ResourceType) -> Stored? {
    let parts = bytes.split(separator: UInt8(ascii: "\n"), maxSplits: 1)
    guard parts.count == 2, parts[0].starts(with: Self.mark.utf8),
      parts[0].elementsEqual((Self.mark + XXHash64.hexadecimal(Array(parts[1]))).utf8)
    else { return nil }
    let inner = parts[1].split(separator: UInt8(ascii: "\n"), maxSplits: 1)
    guard inner.count == 2 else { return nil }
    let words = String(decoding: inner[0], as: UTF8.self).split(separator: " ")
    guard words.count == 2, words[0] == node, let at = UInt64(words[1]),
      let wire = try? Envoy_Service_Discovery_V3_Resource(serializedBytes: Array(inner[1])),
      wire.resource.typeURL == type.url
    else { return nil }
    return Stored(
      name: wire.name, version: wire.version, value: Array(wire.resource.value), at: at)
  }

  private static func files(in directory: String) -> [String] {
    guard let stream = unsafe opendir(directory) else { return [] }
    // SAFETY: open until the function returns; an entry is read before the next is asked for.
    defer { unsafe _ = closedir(stream) }
    var names: [String] = []
    while let entry = unsafe readdir(stream) {
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { tuple in
        unsafe tuple.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
      }
      if !name.hasPrefix(".") { names.append(name) }
    }
    return names
  }
}
