import ResourceModel
import SwiftProtobuf
import Testing

@testable import Resources

@Suite("Resources in binary form")
struct WireTreeBuilderTests {
  private typealias Routes = Envoy_Config_Route_V3_RouteConfiguration

  private static let bootstrap = "envoy.config.bootstrap.v3.Bootstrap"
  private static let url = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"

  private func build(_ bytes: [UInt8], _ type: String) -> (tree: ConfigTree, found: [String]) {
    let diagnostics = Diagnostics(files: ["xds"])
    let index = SchemaCatalog.shared.index(ofMessage: type) ?? 0
    let tree = WireTreeBuilder.build(
      bytes[...], type: index, unknownFields: .error, diagnostics: diagnostics)
    return (tree, diagnostics.rendered.filter { !$0.hasSuffix("deprecated by Envoy") })
  }

  private func read(
    _ bytes: [UInt8], unknownFields: Diagnostic.Severity = .error
  ) throws -> DiscoveredResource {
    try DiscoveryMessage.read(
      typeURL: Self.url, value: bytes, origin: "xds", unknownFields: unknownFields)
  }

  @Test(
    "give the tree that the same configuration gives as a file", arguments: EveryFieldTests.files)
  func everyField(file: String) {
    let root = #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 }
    let written = BootstrapLoader.load(file: root + "/fuzz/config/corpus/" + file).tree
    let bytes = written.root.serialized
    let (tree, found) = build(bytes, Self.bootstrap)
    #expect(found == [])
    #expect(tree.nodes.count == written.nodes.count)
    #expect(tree.root.serialized == bytes)
  }

  @Test("have a name, a type, and no mistakes when they are right")
  func right() throws {
    let routes = Routes.with {
      $0.name = "local"
      $0.virtualHosts = [
        .with {
          $0.name = "all"
          $0.domains = ["*"]
        }
      ]
    }
    let resource = try read(routes.serializedBytes())
    #expect(resource.name == "local")
    #expect(resource.type == "envoy.config.route.v3.RouteConfiguration")
    #expect(resource.problems == [])
    #expect(resource.decode(Routes.self) == routes)
    #expect(resource.node.field("virtual_hosts")?.item(0)?.field("name")?.stringValue == "all")
  }

  @Test("are checked against the API's bounds")
  func bounds() throws {
    let resource = try read(
      Routes.with { $0.virtualHosts = [.with { $0.name = "v" }] }.serializedBytes())
    #expect(resource.problems.count == 1)
    #expect(resource.problems[0].hasPrefix("xds: virtual_hosts[0].domains: missing"))
    #expect(resource.copyOfDiagnostics.hasErrors)
  }

  @Test("name the fields that they should not have")
  func unknownFields() throws {
    // `vhds` is field 9 of Envoy's; nobody has 999.
    let bytes: [UInt8] = [0x4A, 0, 0xBA, 0x3E, 0]
    #expect(
      try read(bytes).problems
        == [
          "xds: no field has the number 999 in envoy.config.route.v3.RouteConfiguration",
          "xds: vhds: known to Envoy, not supported by Fairlead",
        ].sorted { $0.contains("vhds") && !$1.contains("vhds") })
    let tolerant = try read(bytes, unknownFields: .warning)
    #expect(tolerant.isFit)
    #expect(tolerant.problems.count == 2)
    #expect(tolerant.bytes == [])
  }

  @Test("of another type are none")
  func otherType() {
    #expect(throws: DiscoveryMessage.UnknownType.self) {
      try DiscoveryMessage.read(
        typeURL: "type.googleapis.com/envoy.type.v3.Percent", value: [], origin: "xds")
    }
    #expect(throws: DiscoveryMessage.UnknownType.self) {
      try DiscoveryMessage.read(
        typeURL: "envoy.config.route.v3.RouteConfiguration", value: [], origin: "xds")
    }
  }

  @Test("written twice count the last time, and messages are merged")
  func merging() throws {
    let first = Routes.with {
      $0.name = "first"
      $0.validateClusters = .with { $0.value = true }
    }
    let second = Routes.with {
      $0.name = "second"
      $0.internalOnlyHeaders = ["x"]
    }
    let bytes: [UInt8] = try first.serializedBytes() + second.serializedBytes()
    #expect(try read(bytes).decode(Routes.self) == Routes(serializedBytes: bytes))
  }

  @Test("cut short are refused or smaller, and nothing worse")
  func everyPrefix() throws {
    let root = #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 }
    let bytes = BootstrapLoader.load(file: root + "/fuzz/config/corpus/more.yaml").tree.root
      .serialized
    for count in bytes.indices { _ = build(Array(bytes.prefix(count)), Self.bootstrap) }
    // And with one byte changed.
    for index in bytes.indices {
      var changed = bytes
      changed[index] ^= UInt8(truncatingIfNeeded: 1 << (index % 8))
      _ = build(changed, Self.bootstrap)
    }
  }

  @Test(
    "that are no messages are refused with a reason",
    arguments: [
      ([0x0A], "the bytes end within a number"), ([0x0A, 5, 1], "a field is longer than the rest"),
      ([0x0B], "no field has the wire type 3"), ([0x02, 0], "no field has the number 0"),
      ([0x0A] + [UInt8](repeating: 0xFF, count: 10) + [1], "a number is too long"),
      ([0x0A, 1, 0xFF], "the text is not valid UTF-8"),
      ([0x08, 1], "the field has another type on the wire"),
    ] as [([UInt8], String)])
  func malformed(bytes: [UInt8], reason: String) throws {
    let problems = try read(bytes).problems
    #expect(problems.count == 1)
    #expect(problems.first?.hasSuffix(reason) == true)
  }

  @Test("nested without end are refused at the limit")
  func depth() {
    var bytes: [UInt8] = []
    // A struct in a value in a struct: two fields a level, each longer than the one inside.
    for _ in 0..<200 {
      bytes = Self.wrap(5, bytes)
      bytes = Self.wrap(1, Self.wrap(2, bytes))
    }
    let node = Self.wrap(1, Self.wrap(3, bytes))
    let (_, found) = build(node, Self.bootstrap)
    #expect(found.count == 1)
    #expect(found.first?.hasSuffix("nested deeper than the limit of 100 levels") == true)
  }

  private static func wrap(_ field: UInt8, _ bytes: [UInt8]) -> [UInt8] {
    var length = bytes.count
    var head = [field << 3 | 2]
    while length > 127 {
      head.append(UInt8(truncatingIfNeeded: length & 127 | 128))
      length >>= 7
    }
    return head + [UInt8(truncatingIfNeeded: length)] + bytes
  }
}
