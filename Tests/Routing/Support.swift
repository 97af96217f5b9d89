import Engine
import HTTPModel
import ResourceModel
import Resources
import SwiftProtobuf
import Telemetry
import Testing

@testable import Routing

/// A head under construction, with the memory it lives in.
final class Head {
  var pool = BlockPool()
  var map = HeaderMap()

  init(_ fields: [(String, String)] = []) {
    map.open(from: &pool)
    for (name, value) in fields { add(name, value) }
  }

  /// A request as the connection manager hands it on.
  convenience init(
    host: String = "h", path: String, scheme: String = "http", _ fields: [(String, String)] = []
  ) {
    self.init(
      [
        (":method", "GET"), (":path", path), (":authority", host), (":scheme", scheme),
        ("x-forwarded-proto", scheme),
      ] + fields)
  }

  deinit { map.release(into: &pool) }

  func add(_ name: String, _ value: String) {
    let name = Bytes.immortal(name)
    map.add(name, id: HeaderID.of(name), .immortal(value), from: &pool)
  }

  subscript(name: String) -> String? { map[Bytes.immortal(name)]?.string }

  func fits(_ matcher: HeaderMatcher) -> Bool { matcher.matches(map) }

  func fits(_ matchers: HeaderMatchers) -> Bool { matchers.matches(map) }

  /// Every field with this name, in order.
  func all(_ name: String) -> [String] {
    (0..<map.count).filter { map.isLive($0) && map.name($0).string == name }
      .map { map.value($0).string }
  }
}

/// An exchange that knows nothing but one header of its other head.
struct StubSource: LogSource {
  func value(of field: LogField, scratch: inout ByteSink) -> LogValue {
    field == .protocolName ? .bytes(LogBytes("HTTP/1.1")) : .absent
  }

  func header(_ headers: LogHeaders, _ name: LogHeaderName) -> LogBytes? {
    headers == .request && name.bytes.text == "x-from-request" ? LogBytes("request") : nil
  }

  func time(of point: LogTimePoint) -> UInt64? { nil }
  var startTime: UInt64 { 0 }
  var now: UInt64 { 0 }
  var responseFlags: ResponseFlags { ResponseFlags() }
  func metadata(_ kind: LogMetadata, _ path: LogPath, scratch: inout ByteSink) -> LogValue {
    .absent
  }
}

/// Compiled configuration and what was wrong with it.
struct Compiled {
  let table: RouteTable
  let diagnostics: Diagnostics

  /// - Parameter json: a `RouteConfiguration`.
  init(
    _ json: String, clusters: [String] = ["a", "b", "c"], filters: [String] = [],
    runtime: RuntimeSnapshot = RuntimeSnapshot(), suppressesEnvoyHeaders: Bool = false
  ) throws {
    diagnostics = Diagnostics(files: ["test"])
    var seen: [String] = []
    let options = RouteTableOptions(
      cluster: { name in clusters.firstIndex(of: name).map(UInt32.init) }, filterNames: filters,
      filterConfig: { name, path, any in
        seen.append(name)
        // The tests look at the pointed-to text only.
        return unsafe UnsafeRawPointer(Bytes.immortal("\(path)").base)
      },
      runtime: runtime, suppressesEnvoyHeaders: suppressesEnvoyHeaders)
    table = RouteTable.compile(
      try Envoy_Config_Route_V3_RouteConfiguration(jsonString: json), at: .root, options,
      diagnostics)
  }

  /// One virtual host for every domain, with these routes.
  init(routes: String, host: String = "", configuration: String = "") throws {
    try self.init(
      """
      {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [\(routes)] \(host)}]
      \(configuration)}
      """)
  }

  func match(_ head: Head, random: UInt64 = 0) -> RouteMatch? {
    if case .route(let match) = table.match(head.map, random: random) { return match }
    return nil
  }

  /// The name of the route for a request, `-` without one.
  func route(
    _ path: String, host: String = "h", _ fields: [(String, String)] = [], random: UInt64 = 0
  ) -> String {
    let head = Head(host: host, path: path, fields)
    switch table.match(head.map, random: random) {
    case .notFound: return "-"
    case .redirectToTLS: return "tls"
    case .route(let match): return match.entry.value.name.string
    }
  }

  /// Sends a request through its route's changes, as the router would.
  func forwarded(_ head: Head, random: UInt64 = 0) throws -> Head {
    let match = try #require(self.match(head, random: random))
    let renderer = LogRenderer()
    defer { renderer.deallocate() }
    let fits = match.prepareRequest(
      &head.map, StubSource(), renderer: renderer, pool: &head.pool)
    #expect(fits)
    return head
  }

  /// The `location` for a request that is answered here.
  func location(_ head: Head) throws -> String? {
    let match = try #require(self.match(head))
    let fits = match.rewritePath(of: &head.map, pool: &head.pool)
    #expect(fits)
    let block = head.pool.take()
    defer { head.pool.release(block) }
    var writer = unsafe ByteWriter(base: block.base, capacity: block.capacity)
    return match.writeLocation(for: head.map, into: &writer) ? writer.written.string : nil
  }
}
