/// A kind of message: what `docs/analysis.md` explains, one by one.
package struct AnalysisCode: Sendable, Hashable {
  /// How bad it is.
  package enum Level: String, Sendable, Comparable, CaseIterable {
    case info = "Info"
    case warning = "Warning"
    case error = "Error"

    package static func < (one: Level, other: Level) -> Bool { one.rank < other.rank }

    private var rank: Int {
      switch self {
      case .info: 0
      case .warning: 1
      case .error: 2
      }
    }
  }

  /// `IST0101`: Istio's, with Istio's meaning. `FLC0001`: ours.
  package let code: String
  package let name: String
  package let level: Level

  package init(_ code: String, _ name: String, _ level: Level) {
    self.code = code
    self.name = name
    self.level = level
  }
}

extension AnalysisCode {
  static let referencedResourceNotFound = Self("IST0101", "ReferencedResourceNotFound", .error)
  static let schemaValidationError = Self("IST0106", "SchemaValidationError", .error)
  static let misplacedAnnotation = Self("IST0107", "MisplacedAnnotation", .warning)
  static let unknownAnnotation = Self("IST0108", "UnknownAnnotation", .warning)
  static let conflictingMeshHosts = Self(
    "IST0109", "ConflictingMeshGatewayVirtualServiceHosts", .error)
  static let conflictingSidecars = Self("IST0110", "ConflictingSidecarWorkloadSelectors", .error)
  static let multipleSidecars = Self(
    "IST0111", "MultipleSidecarsWithoutWorkloadSelectors", .error)
  static let portSelectorRequired = Self(
    "IST0112", "VirtualServiceDestinationPortSelectorRequired", .error)
  static let multipleServices = Self(
    "IST0116", "DeploymentAssociatedToMultipleServices", .warning)
  static let portName = Self("IST0118", "PortNameIsNotUnderNamingConvention", .info)
  static let invalidAnnotation = Self("IST0125", "InvalidAnnotation", .warning)
  static let noMatchingWorkloads = Self("IST0127", "NoMatchingWorkloadsFound", .warning)
  static let unverifiedDestination = Self(
    "IST0128", "NoServerCertificateVerificationDestinationLevel", .warning)
  static let unverifiedPort = Self(
    "IST0129", "NoServerCertificateVerificationPortLevel", .warning)
  static let unreachableRule = Self("IST0130", "VirtualServiceUnreachableRule", .warning)
  static let ineffectiveMatch = Self("IST0131", "VirtualServiceIneffectiveMatch", .info)
  static let hostNotFoundInGateway = Self(
    "IST0132", "VirtualServiceHostNotFoundInGateway", .warning)
  static let schemaWarning = Self("IST0133", "SchemaWarning", .warning)
  static let addressesRequired = Self("IST0134", "ServiceEntryAddressesRequired", .warning)
  static let conflictingPorts = Self("IST0137", "DeploymentConflictingPorts", .warning)
  static let duplicateCertificate = Self("IST0138", "GatewayDuplicateCertificate", .warning)
  static let invalidUser = Self("IST0144", "InvalidApplicationUID", .warning)
  static let conflictingGateways = Self("IST0145", "ConflictingGateways", .error)
  static let claimsWithoutAuthentication = Self(
    "IST0149", "JwtClaimBasedRoutingWithoutRequestAuthN", .error)
  static let externalNamePort = Self("IST0150", "ExternalNameServiceTypeInvalidPortName", .warning)
  static let envoyFilterRelative = Self(
    "IST0151", "EnvoyFilterUsesRelativeOperation", .warning)
  static let envoyFilterReplace = Self(
    "IST0152", "EnvoyFilterUsesReplaceOperationIncorrectly", .error)
  static let envoyFilterAdd = Self("IST0153", "EnvoyFilterUsesAddOperationIncorrectly", .error)
  static let envoyFilterRemove = Self(
    "IST0154", "EnvoyFilterUsesRemoveOperationIncorrectly", .error)
  static let envoyFilterVersion = Self(
    "IST0155", "EnvoyFilterUsesRelativeOperationWithProxyVersion", .warning)
  static let conflictingTelemetries = Self(
    "IST0159", "ConflictingTelemetryWorkloadSelectors", .error)
  static let multipleTelemetries = Self(
    "IST0160", "MultipleTelemetriesWithoutWorkloadSelectors", .error)
  static let invalidCredential = Self("IST0161", "InvalidGatewayCredential", .error)
  static let gatewayPort = Self("IST0162", "GatewayPortNotDefinedOnService", .warning)
  static let subsetWithoutPods = Self("IST0173", "DestinationRuleSubsetNotSelectPods", .error)
  static let unknownHost = Self("IST0174", "UnknownDestinationRuleHost", .warning)
  static let conflictingEntries = Self("IST0177", "ConflictingServiceEntryProtocol", .warning)

  static let missingLabels = Self("FLC0001", "WorkloadLabelsMissing", .warning)
  static let clientCannot = Self("FLC0002", "NotSupportedByClient", .warning)
  static let portProtocols = Self("FLC0003", "PodPortWithSeveralProtocols", .error)
  static let noHTTPPort = Self("FLC0004", "HTTPRulesForPortsOfBytes", .warning)
  static let noWorkloads = Self("FLC0005", "ServiceSelectsNoWorkloads", .warning)

  /// Every code that is used, in order.
  package static let all: [AnalysisCode] = [
    referencedResourceNotFound, schemaValidationError, misplacedAnnotation, unknownAnnotation,
    conflictingMeshHosts, conflictingSidecars, multipleSidecars,
    portSelectorRequired, multipleServices, portName, invalidAnnotation, noMatchingWorkloads,
    unverifiedDestination, unverifiedPort, unreachableRule, ineffectiveMatch,
    hostNotFoundInGateway, schemaWarning, addressesRequired, conflictingPorts,
    duplicateCertificate, invalidUser, conflictingGateways, claimsWithoutAuthentication,
    externalNamePort, envoyFilterRelative, envoyFilterReplace, envoyFilterAdd, envoyFilterRemove,
    envoyFilterVersion, conflictingTelemetries, multipleTelemetries, invalidCredential, gatewayPort,
    subsetWithoutPods, unknownHost,
    conflictingEntries, missingLabels, clientCannot, portProtocols, noHTTPPort, noWorkloads,
  ]

  /// Where more is said: Istio's pages for its codes, ours for ours.
  package var documentation: String {
    code.hasPrefix("IST")
      ? "https://istio.io/latest/docs/reference/config/analysis/\(code.lowercased())/"
      : "docs/analysis.md#\(code.lowercased())"
  }
}
