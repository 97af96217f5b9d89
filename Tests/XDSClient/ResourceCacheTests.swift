import Glibc
import Resources
import Testing

@testable import XDSClient

/// A directory that goes with the test.
private final class Folder {
  let path: String

  init() {
    var template = Array("/tmp/fairlead-cache-XXXXXX".utf8CString)
    let made = unsafe template.withUnsafeMutableBufferPointer { buffer in
      unsafe buffer.baseAddress.flatMap { unsafe mkdtemp($0) }.map { unsafe String(cString: $0) }
    }
    path = made ?? "/nonexistent"
  }

  deinit {
    for kind in ["Cluster", "ClusterLoadAssignment", "Listener", "RouteConfiguration"] {
      for file in files(kind) { _ = unsafe unlink("\(path)/\(kind)/\(file)") }
      _ = unsafe rmdir("\(path)/\(kind)")
    }
    _ = unsafe rmdir(path)
  }

  func files(_ kind: String) -> [String] {
    guard let stream = unsafe opendir("\(path)/\(kind)") else { return [] }
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

  func cache(node: String = "me") throws -> ResourceCache {
    try ResourceCache(path, node: node, now: { 7 })
  }
}

@Suite("Resources that are kept on disk")
struct ResourceCacheTests {
  private let folder = Folder()

  @Test("a directory that others can write to is not used")
  func shared() throws {
    try #require(unsafe chmod(folder.path, 0o777) == 0)
    #expect(throws: FileError.self) { try folder.cache() }
  }

  @Test("the next process finds names, versions, content and time")
  func found() throws {
    let first = try folder.cache()
    first.store(.clusters, "b", version: "1", [1, 2])
    first.store(.clusters, "a", version: "2", [])
    first.store(.endpoints, "a", version: "3", [10, 10])
    let next = try folder.cache()
    #expect(next.load(.clusters).map(\.name) == ["a", "b"])
    #expect(next.load(.clusters).map(\.version) == ["2", "1"])
    #expect(next.load(.clusters).map(\.value) == [[], [1, 2]])
    #expect(next.load(.endpoints, "a")?.value == [10, 10])
    #expect(next.load(.endpoints, "a")?.at == 7)
    #expect(next.load(.endpoints, "b") == nil)
    #expect(next.load(.listeners).isEmpty)
  }

  @Test("the same again is not written again, and what is gone goes")
  func changes() throws {
    let cache = try folder.cache()
    var events: [ResourceCache.Event] = []
    cache.onEvent = { events.append($0) }
    cache.store(.routes, "a", version: "1", [1])
    cache.store(.routes, "a", version: "1", [1])
    #expect(events == [.stored])
    cache.store(.routes, "a", version: "2", [1])
    #expect(events == [.stored, .stored])
    cache.store(.routes, "b", version: "1", [1])
    cache.store(.routes, "c", version: "1", [1])
    cache.remove(.routes, "a")
    #expect(cache.load(.routes).map(\.name) == ["b", "c"])
    cache.keepOnly(.routes, ["c", "d"])
    #expect(cache.load(.routes).map(\.name) == ["c"])
    #expect(folder.files("RouteConfiguration").count == 1)
  }

  @Test("secrets are not kept")
  func secrets() throws {
    let cache = try folder.cache()
    cache.store(.secrets, "key", version: "1", [1])
    #expect(cache.load(.secrets).isEmpty)
    #expect(cache.load(.secrets, "key") == nil)
  }

  @Test("what was sent to another node is not used")
  func foreign() throws {
    try folder.cache().store(.clusters, "a", version: "1", [1])
    #expect(try folder.cache(node: "you").load(.clusters).isEmpty)
    #expect(try folder.cache().load(.clusters).count == 1)
  }

  @Test("a file that is cut or changed anywhere is not used, and everything else is")
  func damaged() throws {
    let cache = try folder.cache()
    cache.store(.clusters, "a", version: "1", [1, 2, 3])
    let file = try #require(folder.files("Cluster").first)
    cache.store(.clusters, "b", version: "1", [4])
    let path = "\(folder.path)/Cluster/\(file)"
    let whole = try FileReader.read(path, atMost: 1000).get()
    var ignored = 0
    cache.onEvent = { if $0 == .ignored { ignored += 1 } }
    for length in 0..<whole.count {
      try PrivateFile.write(path, Array(whole.prefix(length)))
      #expect(cache.load(.clusters).map(\.name) == ["b"])
    }
    for index in whole.indices {
      var changed = whole
      changed[index] ^= 1
      try PrivateFile.write(path, changed)
      #expect(cache.load(.clusters).map(\.name) == ["b"])
    }
    #expect(ignored == whole.count * 2)
    try PrivateFile.write(path, whole)
    #expect(cache.load(.clusters).count == 2)
  }

  @Test("a disk that takes nothing is told of once, until it takes something again")
  func full() throws {
    let cache = try folder.cache()
    var problems: [String] = []
    cache.onProblem = { problems.append($0) }
    _ = unsafe rmdir("\(folder.path)/Listener")
    cache.store(.listeners, "a", version: "1", [1])
    cache.store(.listeners, "b", version: "1", [1])
    #expect(problems.count == 1)
    #expect(cache.load(.listeners).isEmpty)
    _ = unsafe mkdir("\(folder.path)/Listener", 0o700)
    cache.store(.listeners, "a", version: "1", [1])
    #expect(cache.load(.listeners).map(\.name) == ["a"])
  }
}

@Suite("Times to live")
struct ResourceExpiryTests {
  private func key(_ name: String) -> ResourceExpiry.Key { .init(type: .clusters, name: name) }

  @Test("what is due is told once, and the next deadline is the nearest")
  func due() {
    var expiry = ResourceExpiry()
    #expect(expiry.next == nil)
    expiry.note(key("a"), timeToLive: 10, now: 100)
    expiry.note(key("b"), timeToLive: 5, now: 100)
    #expect(expiry.next == 105)
    #expect(expiry.takeDue(now: 104).isEmpty)
    #expect(expiry.takeDue(now: 105) == [key("b")])
    #expect(expiry.takeDue(now: 105).isEmpty)
    #expect(expiry.takeDue(now: 1000) == [key("a")])
    #expect(expiry.next == nil)
  }

  @Test("a later version's time counts, and without one it lasts")
  func later() {
    var expiry = ResourceExpiry()
    expiry.note(key("a"), timeToLive: 10, now: 0)
    expiry.note(key("a"), timeToLive: 20, now: 5)
    #expect(expiry.next == 25)
    expiry.note(key("a"), timeToLive: nil, now: 6)
    #expect(expiry.next == nil)
  }

  @Test("a heartbeat renews what has a deadline, and nothing else")
  func heartbeat() {
    var expiry = ResourceExpiry()
    expiry.renew(key("a"), timeToLive: 10, now: 0)
    #expect(expiry.next == nil)
    expiry.note(key("a"), timeToLive: 10, now: 0)
    expiry.renew(key("a"), timeToLive: 10, now: 9)
    #expect(expiry.next == 19)
    expiry.renew(key("a"), timeToLive: nil, now: 10)
    #expect(expiry.next == nil)
  }
}
