import Testing

@testable import MeshModel

private func service(_ name: String, port: String = "80") -> String {
  "---\n{apiVersion: v1, kind: Service, metadata: {name: \(name)}, "
    + "spec: {ports: [{port: \(port)}]}}\n"
}

private func id(_ name: String) -> ObjectID { ObjectID(.service, "default", name) }

@Suite("The store of objects")
struct MeshStoreTests {
  private func update(_ store: inout MeshStore, _ files: [String: String]) -> Set<ObjectID> {
    store.update(files.mapValues { Array($0.utf8) })
  }

  @Test("tells what came, what changed and what went")
  func changes() {
    var store = MeshStore()
    let first = update(&store, ["a": service("one") + service("two")])
    #expect(first == [id("one"), id("two")])
    let same = update(&store, ["a": service("one") + "# a remark\n" + service("two")])
    #expect(same.isEmpty)
    let second = update(&store, ["a": service("one", port: "81")])
    #expect(second == [id("one"), id("two")])
    #expect(store.objects.map(\.id) == [id("one")])
    let last = update(&store, [:])
    #expect(last == [id("one")])
    #expect(store.objects.isEmpty)
  }

  @Test("a bad object leaves the last good one standing, and its neighbours alone")
  func badObject() {
    var store = MeshStore()
    _ = update(&store, ["a": service("one") + service("two")])
    let changed = update(&store, ["a": service("one", port: "x") + service("two", port: "82")])
    #expect(changed == [id("two")])
    #expect(store.entries[id("one")]?.isRefused == true)
    #expect(store.entries[id("one")]?.object != nil)
    #expect(store.diagnostics.count == 1)
    let mended = update(&store, ["a": service("one", port: "83") + service("two", port: "82")])
    #expect(mended == [id("one")])
    #expect(store.diagnostics.isEmpty)
  }

  @Test("a file that cannot be read leaves everything as it was")
  func badFile() {
    var store = MeshStore()
    _ = update(&store, ["a": service("one"), "b": service("two")])
    let changed = update(&store, ["a": "{apiVersion: v1, kind: [", "b": service("two")])
    #expect(changed.isEmpty)
    #expect(store.objects.count == 2)
    #expect(store.fileDiagnostics.count == 1)
  }

  @Test("of two objects with one name the first file's counts, until it is gone")
  func duplicates() {
    var store = MeshStore()
    _ = update(&store, ["a": service("one"), "b": service("one", port: "81")])
    #expect(store.fileDiagnostics.map(\.description).first?.contains("'a'") == true)
    #expect(store.objects.map(\.file) == ["a"])
    let changed = update(&store, ["b": service("one", port: "81")])
    #expect(changed == [id("one")])
    #expect(store.objects.map(\.file) == ["b"])
    #expect(store.diagnostics.isEmpty)
  }

  @Test("an object keeps its age when it changes")
  func age() {
    var store = MeshStore()
    _ = update(&store, ["a": service("one")])
    _ = update(&store, ["a": service("one"), "b": service("two")])
    _ = update(&store, ["a": service("one", port: "81"), "b": service("two")])
    let sorted = store.objects.sorted { $0.precedes($1) }.map(\.name)
    #expect(sorted == ["one", "two"])
  }
}
