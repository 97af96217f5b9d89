// swift-tools-version: 6.2
import PackageDescription

// The floors of ARCHITECTURE.md, bottom to top. A target imports only from floors below its own;
// `scripts/check-floors` reads this file's dump and refuses anything else.

let strict: [SwiftSetting] = [.strictMemorySafety(), .treatAllWarnings(as: .error)]

/// A Swift target of ours: strict memory safety, warnings as errors.
func floor(
  _ name: String, _ dependencies: [Target.Dependency] = [], path: String? = nil,
  resources: [Resource]? = nil
) -> Target {
  .target(
    name: name, dependencies: dependencies, path: path, resources: resources, swiftSettings: strict)
}

/// A filter module: it sees `FilterSDK` and nothing else of ours.
func plugin(_ name: String) -> Target {
  floor(name, ["FilterSDK"], path: "Plugins/\(name)")
}

func tests(
  _ name: String, _ dependencies: [Target.Dependency], exclude: [String] = []
) -> Target {
  .testTarget(
    name: "\(name)Tests", dependencies: dependencies, path: "Tests/\(name)", exclude: exclude)
}

let protobuf = Target.Dependency.product(name: "SwiftProtobuf", package: "swift-protobuf")
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")

let plugins = [
  "BufferFilter", "FaultInjection", "GRPCStats", "GRPCWeb", "HeaderMutation", "HealthCheck",
  "LocalRateLimit", "MTLS", "RBAC", "Retry", "Timeout",
]

let package = Package(
  name: "fairlead",
  products: [
    .executable(name: "fairlead", targets: ["fairlead"]),
    .executable(name: "fairlead-control", targets: ["fairlead-control"]),
    .executable(name: "fairleadctl", targets: ["fairleadctl"]),
    .library(name: "FilterSDK", targets: ["FilterSDK"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0", traits: []),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
  ],
  targets: [
    // Floor 0: C, each library behind its shim.
    .target(name: "CLinux"),
    .systemLibrary(name: "CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
    .systemLibrary(name: "CAres", pkgConfig: "libcares", providers: [.apt(["libc-ares-dev"])]),
    .systemLibrary(
      name: "CNghttp2", pkgConfig: "libnghttp2", providers: [.apt(["libnghttp2-dev"])]),
    .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
    .target(name: "CRE2", linkerSettings: [.linkedLibrary("re2")]),
    .target(name: "CFilterABI"),

    // Floor 1
    floor("Engine", ["CLinux"]),
    floor("TLS", ["COpenSSL"]),
    floor("Telemetry", ["CLinux"]),
    .target(name: "ResourceModel", dependencies: [protobuf]),
    .target(name: "MeshMessages", dependencies: [protobuf]),

    // Floor 2
    floor("HTTPModel", ["Engine", "CLinux"]),
    floor("Inspection", ["Engine"]),
    floor("Resources", ["ResourceModel", "CYAML", protobuf]),

    // Floor 3
    floor("HTTPCodec", ["HTTPModel", "Engine", "CLinux", "CNghttp2"]),
    floor("FilterSDK", ["CFilterABI"]),

    // Floor 4
    floor(
      "Routing",
      [
        "HTTPModel", "Engine", "Telemetry", "ResourceModel", "Resources", "CRE2", "CFilterABI",
        "CLinux", protobuf,
      ]),
    floor(
      "Upstream",
      [
        "HTTPCodec", "HTTPModel", "Inspection", "Engine", "Telemetry", "ResourceModel", "Resources",
        "CAres", "CLinux", protobuf,
      ]),
    floor("GRPC", ["HTTPCodec", "HTTPModel", "Engine", "TLS", "CLinux"]),
    floor("AdminHTTP", ["HTTPCodec", "HTTPModel", "Resources", "Engine", "CLinux"]),
  ] + plugins.map(plugin) + [
    // Floor 5
    floor("MeshModel", ["MeshMessages", "Telemetry", "Resources", protobuf]),
    floor("XDSClient", ["Engine", "GRPC", "Telemetry", "ResourceModel", "Resources", protobuf]),
    floor(
      "IdentityClient",
      ["CLinux", "Engine", "GRPC", "TLS", "ResourceModel", "Resources", protobuf]),

    // Floor 6
    floor(
      "DataPlane",
      [
        "AdminHTTP", "CFilterABI", "CLinux", "Engine", "TLS", "Telemetry", "ResourceModel",
        "HTTPModel", "Resources", "HTTPCodec", "Inspection", "Routing", "Upstream", "GRPC",
        "XDSClient", "IdentityClient", protobuf,
      ]),

    floor(
      "MeshTranslation",
      [
        "CRE2", "Telemetry", "ResourceModel", "Resources", "MeshMessages", "MeshModel", protobuf,
      ]),

    floor(
      "MeshIdentity",
      ["CLinux", "Engine", "TLS", "Telemetry", "ResourceModel", "Resources", "GRPC", protobuf]),

    // Floor 7
    floor(
      "MeshAnalysis",
      ["CRE2", "TLS", "Resources", "MeshMessages", "MeshModel", "MeshTranslation"]),

    // Floor 8
    floor(
      "ControlTool",
      [
        "CLinux", "TLS", "Resources", "MeshMessages", "MeshModel", "MeshTranslation",
        "MeshAnalysis", arguments,
      ]),

    floor(
      "MeshServer",
      [
        "CLinux", "Engine", "Telemetry", "ResourceModel", "Resources", "AdminHTTP", "GRPC",
        "MeshMessages", "MeshModel", "MeshTranslation", "MeshAnalysis", protobuf,
      ]),

    // Floor 9
    .executableTarget(name: "fairleadctl", dependencies: ["ControlTool"], swiftSettings: strict),
    .executableTarget(
      name: "fairlead-control",
      dependencies: [
        "MeshServer", "MeshIdentity", "MeshModel", "CLinux", "Engine", "GRPC", "Resources",
        "Telemetry", arguments,
      ],
      swiftSettings: strict),
    .executableTarget(
      name: "mesh-load", dependencies: ["CLinux", "Engine", "GRPC", "ResourceModel", protobuf],
      path: "benchmarks/mesh_load", swiftSettings: strict),
    .executableTarget(
      name: "fairlead",
      dependencies: ["DataPlane", "Engine", "FilterSDK", "CFilterABI", arguments]
        + plugins.map { .target(name: $0) },
      swiftSettings: strict),
  ] + [
    tests("Engine", ["Engine"]),
    tests("TLS", ["TLS", "COpenSSL"]),
    tests("Telemetry", ["Telemetry"]),
    tests("Resources", ["Resources", "ResourceModel"]),
    tests("HTTPModel", ["HTTPModel", "Engine"]),
    tests("Inspection", ["Inspection", "Engine"]),
    tests("HTTPCodec", ["HTTPCodec", "HTTPModel", "Engine"]),
    tests(
      "Routing",
      [
        "Routing", "HTTPModel", "Engine", "Telemetry", "Resources", "ResourceModel", "CFilterABI",
        protobuf,
      ]),
    tests(
      "Upstream",
      ["Upstream", "Inspection", "Engine", "Telemetry", "Resources", "ResourceModel"]),
    tests("MeshAnalysis", ["MeshAnalysis", "MeshTranslation", "MeshModel", "Resources"]),
    tests("MeshModel", ["MeshModel", "MeshMessages", "Resources"]),
    tests(
      "MeshTranslation",
      ["MeshTranslation", "MeshModel", "MeshMessages", "ResourceModel", protobuf]),
    tests(
      "MeshServer",
      [
        "MeshServer", "MeshTranslation", "MeshModel", "MeshMessages", "GRPC", "Engine",
        "Resources", "ResourceModel", protobuf,
      ]),
    tests(
      "XDSClient",
      ["XDSClient", "GRPC", "Engine", "HTTPCodec", "ResourceModel", "Resources", protobuf]),
    tests("ControlTool", ["ControlTool", "MeshModel"], exclude: ["Dumps"]),
    tests("GRPC", ["GRPC", "Engine", "HTTPCodec", "TLS", "CLinux"]),
    tests(
      "IdentityClient",
      ["IdentityClient", "GRPC", "Engine", "TLS", "CLinux", "ResourceModel", "Resources", protobuf]),
    tests(
      "MeshIdentity",
      [
        "MeshIdentity", "GRPC", "Engine", "TLS", "COpenSSL", "Resources", "ResourceModel", protobuf,
      ]),
    tests("Plugins", ["FilterSDK", "CFilterABI"] + plugins.map { .target(name: $0) }),
  ],
  swiftLanguageModes: [.v6],
  cxxLanguageStandard: .cxx17
)
