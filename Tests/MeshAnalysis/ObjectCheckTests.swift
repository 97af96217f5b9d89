import MeshModel
import Resources
import Testing

@testable import MeshAnalysis

/// What is wrong, and what is doubtful, in the only object of a text.
func findings(_ kind: MeshKind, _ spec: String) throws -> [String] {
  let text =
    "apiVersion: \(kind.apiVersion)\nkind: \(kind.rawValue)\nmetadata: {name: a}\nspec: \(spec)\n"
  return try ObjectFile.read(Array(text.utf8), name: "mesh.yaml").flatMap { document in
    let reading = ObjectReader.read(document)
    guard let object = reading.object, let read = reading.read else {
      return reading.diagnostics.map(\.description)
    }
    ObjectCheck.check(object, read)
    return read.diagnostics.all.map(\.description)
  }
}

/// The same for messages of kinds that are not taken yet: what is checked once they are.
func check(_ kind: MeshKind, _ spec: String, _ phrase: String, at path: String) throws {
  let found = try findings(kind, spec)
  #expect(found.count == 1, "\(found)")
  #expect(found.first?.hasPrefix("mesh.yaml:4:") == true, "\(found)")
  #expect(found.first?.contains(phrase) == true, "\(found)")
  #expect(found.first?.contains("spec" + path + ": ") == true, "\(found)")
}

private let good: [(MeshKind, String)] = [
  (.virtualService, "{hosts: [a], http: [{route: [{destination: {host: a}}]}]}"),
  (.virtualService, "{hosts: [a], http: [{redirect: {uri: /}}]}"),
  (.virtualService, "{http: [{directResponse: {status: 200}}]}"),
  (.virtualService, "{hosts: [a], http: [{delegate: {name: b}}]}"),
  (.virtualService, "{hosts: ['*'], gateways: [b, c/d], http: [{redirect: {uri: /}}]}"),
  (
    .virtualService,
    "{hosts: [a], http: [{timeout: 0s, retries: {attempts: 0}, match: [{headers: {x: {}}, "
      + "withoutHeaders: {y: {regex: '*'}}, uri: {prefix: ''}}], route: [{destination: {host: a}}]}]}"
  ),
  (
    .virtualService,
    "{hosts: [a.example.com, '*.b.com'], tls: [{match: [{sniHosts: [x.b.com]}], "
      + "route: [{destination: {host: a}}]}], tcp: [{route: [{destination: {host: a}}]}]}"
  ),
  (.destinationRule, "{host: a, subsets: [{name: v1}, {name: v2, labels: {version: v2}}]}"),
  (.destinationRule, "{host: '*.local', trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}"),
  (
    .destinationRule,
    "{host: a, trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true, "
      + "maglev: {tableSize: 65537}}}}}"
  ),
  (
    .gateway,
    "{selector: {app: g}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*'], "
      + "tls: {httpsRedirect: true}}, {port: {number: 443, name: https, protocol: HTTPS}, "
      + "hosts: [./a.com], tls: {mode: SIMPLE, credentialName: c}}]}"
  ),
  (
    .serviceEntry,
    "{hosts: ['*.a.com'], ports: [{number: 443, name: tls, protocol: TLS}], resolution: NONE}"
  ),
  (
    .serviceEntry,
    "{hosts: [a.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, "
      + "endpoints: [{address: 10.0.0.1, ports: {http: 8080}}]}"
  ),
  (.workloadEntry, "{address: 10.0.0.1, ports: {http: 80}}"),
  (.sidecar, "{egress: [{hosts: [./*, istio-system/*]}]}"),
  (.authorizationPolicy, "{}"),
  (.authorizationPolicy, "{action: DENY, rules: [{}]}"),
  (
    .authorizationPolicy,
    "{rules: [{from: [{source: {principals: ['*']}}], to: [{operation: {ports: ['80']}}], "
      + "when: [{key: 'request.headers[x]', values: [z]}]}]}"
  ),
  (.service, "{ports: [{port: 53, name: a}, {port: 53, name: b, protocol: UDP}]}"),
  (.requestAuthentication, "{jwtRules: [{issuer: a, jwksUri: 'https://a.com/keys'}]}"),
  (
    .envoyFilter,
    "{configPatches: [{applyTo: HTTP_FILTER, match: {listener: {filterChain: {filter: {name: "
      + "envoy.filters.network.http_connection_manager}}}}, patch: {operation: ADD, value: {name: a, "
      + "typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua}}}}]}"
  ),
  (.envoyFilter, "{configPatches: [{applyTo: CLUSTER, patch: {operation: REMOVE}}]}"),
  (.service, "{clusterIP: None}"),
  (.deployment, "{selector: {matchLabels: {app: a}}, template: {metadata: {labels: {app: a}}}}"),
  (.meshConfig, "{trustDomain: cluster.local, connectTimeout: 5s}"),
  (
    .meshConfig,
    "{extensionProviders: [{name: a, envoyFileAccessLog: {logFormat: {text: '%CEL(a)%'}}}, "
      + "{name: b, prometheus: {}}], defaultProviders: {accessLogging: [A, envoy], "
      + "metrics: [prometheus]}, defaultConfig: {concurrency: 2, proxyMetadata: {a: b}}, "
      + "accessLogFormat: '%REQ_WITHOUT_QUERY(:PATH)%'}"
  ),
  (.proxyConfig, "{concurrency: 0, environmentVariables: {A: ''}, image: {imageType: debug}}"),
  (
    .telemetry,
    "{selector: {matchLabels: {app: a}}, accessLogging: [{filter: {expression: 'a.b > 1'}}, "
      + "{disabled: true, match: {mode: CLIENT}, providers: [{name: a}]}], "
      + "tracing: [{randomSamplingPercentage: 100, customTags: {a: {literal: {value: b}}}}], "
      + "metrics: [{overrides: [{match: {metric: REQUEST_COUNT, mode: SERVER}, disabled: true}, "
      + "{tagOverrides: {a: {value: b}, c: {operation: REMOVE}}}], reportingInterval: 5s}]}"
  ),
  (.telemetry, "{targetRefs: [{kind: Gateway, name: a}], accessLogging: [{}]}"),
]

/// A route, where it is wrong, and what is said.
private let badRoutes: [(String, String, String)] = [
  ("{timeout: 1s}", "", "an HTTP route has a 'route'"),
  ("{redirect: {uri: /}, route: [{destination: {host: a}}]}", ".redirect", "exclude each other"),
  (
    "{directResponse: {status: 200}, route: [{destination: {host: a}}]}", ".directResponse",
    "exclude each other"
  ),
  ("{delegate: {name: b}, redirect: {uri: /}}", ".redirect", "exclude each other"),
  ("{redirect: {uri: /}, rewrite: {uri: /b}}", ".rewrite", "takes no 'rewrite'"),
  ("{redirect: {uri: /}, fault: {abort: {httpStatus: 500}}}", ".fault", "takes no 'fault'"),
  ("{directResponse: {status: 200}, fault: {abort: {httpStatus: 500}}}", ".fault", "takes no"),
  ("{redirect: {uri: /, redirectCode: 304}}", ".redirect.redirectCode", "301, 302, 303"),
  ("{redirect: {}}", ".redirect", "says where to"),
  ("{redirect: {scheme: ftp}}", ".redirect.scheme", "'http' or 'https'"),
  ("{redirect: {uri: /, prefixRewrite: /b}}", ".redirect.prefixRewrite", "exclude"),
  ("{directResponse: {status: 99}}", ".directResponse.status", "not 99"),
]

/// The same beside a destination.
private let badPolicies: [(String, String, String)] = [
  ("timeout: 100us", ".timeout", "1ms or more"),
  ("retries: {attempts: -1}", ".retries.attempts", "not -1"),
  ("retries: {attempts: 0, perTryTimeout: 1s}", ".retries", "with 0 attempts"),
  ("retries: {attempts: 1, retryOn: '5xx,gateway-eror'}", ".retries.retryOn", "'gateway-error'"),
  ("fault: {}", ".fault", "an 'abort', a 'delay' or both"),
  ("fault: {abort: {httpStatus: 99}}", ".fault.abort.httpStatus", "not 99"),
  ("fault: {abort: {}}", ".fault.abort", "an 'httpStatus' or a 'grpcStatus'"),
  ("fault: {abort: {grpcStatus: UNAVAIL}}", ".fault.abort.grpcStatus", "no status of gRPC"),
  (
    "fault: {abort: {httpStatus: 500, percentage: {value: 101}}}",
    ".fault.abort.percentage.value", "from 0.0001 to 100"
  ),
  (
    "fault: {abort: {httpStatus: 500, percentage: {value: 0.00001}}}",
    ".fault.abort.percentage.value", "from 0.0001 to 100"
  ),
  ("fault: {delay: {percentage: {value: 1}}}", ".fault.delay", "'fixedDelay'"),
  ("match: [{uri: {regex: 'a('}}]", ".match[0].uri.regex", "RE2"),
  ("match: [{uri: {regex: ''}}]", ".match[0].uri.regex", "not empty"),
  ("match: [{headers: {x: {regex: 'a('}}}]", ".match[0].headers[\"x\"].regex", "RE2"),
  ("match: [{headers: {'a b': {exact: c}}}]", ".match[0].headers[\"a b\"]", "no name of a header"),
  (
    "match: [{headers: {'@request.auth.claims.a': {exact: c}}}]",
    ".match[0].headers[\"@request.auth.claims.a\"]", "for gateways"
  ),
  ("match: [{method: {prefix: ''}}]", ".match[0].method.prefix", "not empty"),
  ("match: [{uri: {}}]", ".match[0].uri", "says nothing to compare with"),
  ("match: [{}]", ".match[0]", "matches every request"),
  ("match: [{port: 70000}]", ".match[0].port", "not 70000"),
  ("rewrite: {}", ".rewrite", "says what to"),
  (
    "rewrite: {uri: /, uriRegexRewrite: {match: a, rewrite: b}}", ".rewrite.uri", "exclude"
  ),
  (
    "rewrite: {uriRegexRewrite: {match: a, rewrite: '\\1'}}",
    ".rewrite.uriRegexRewrite.rewrite", "no text to replace with"
  ),
  (
    "rewrite: {authority: b}, headers: {request: {set: {host: c}}}", ".headers.request",
    "more than once"
  ),
  (
    "headers: {request: {set: {':path': /}}}", ".headers.request.set[\":path\"]", "not changed here"
  ),
  ("headers: {response: {remove: ['a b']}}", ".headers.response.remove[0]", "no name of a header"),
  ("corsPolicy: {allowMethods: [PUTT]}", ".corsPolicy.allowMethods[0]", "did you mean 'PUT'"),
  ("corsPolicy: {maxAge: 1.5s}", ".corsPolicy.maxAge", "whole seconds"),
  ("mirrors: [{percentage: {value: 1}, destination: {}}]", ".mirrors[0].destination", "its 'host'"),
  (
    "mirror: {host: b}, mirrors: [{destination: {host: b}}]", ".mirror", "use 'mirrors'"
  ),
]

/// A kind, a spec, where it is wrong, and what is said.
private let bad: [(MeshKind, String, String, String)] = [
  (.virtualService, "{hosts: [a]}", "", "'http', 'tls' or 'tcp'"),
  (.virtualService, "{hosts: [a, a], http: [{redirect: {uri: /}}]}", ".hosts[1]", "already"),
  (
    .virtualService, "{hosts: ['*.a.com', b.a.com], http: [{redirect: {uri: /}}]}", ".hosts[1]",
    "covered by '*.a.com'"
  ),
  (.virtualService, "{hosts: ['*'], http: [{redirect: {uri: /}}]}", ".hosts[0]", "for gateways"),
  (.virtualService, "{hosts: [a_b], http: [{redirect: {uri: /}}]}", ".hosts[0]", "is no host"),
  (
    .virtualService, "{gateways: [g], http: [{redirect: {uri: /}}]}", ".gateways", "a delegate"
  ),
  (
    .virtualService, "{hosts: [a], gateways: [a/b/c], http: [{redirect: {uri: /}}]}",
    ".gateways[0]", "names no Gateway"
  ),
  (
    .virtualService, "{hosts: [a], exportTo: ['*', b], http: [{redirect: {uri: /}}]}", ".exportTo",
    "everybody"
  ),
  (
    .virtualService, "{hosts: [a], tls: [{route: [{destination: {host: a}}]}]}", ".tls[0]",
    "'sniHosts'"
  ),
  (
    .virtualService,
    "{hosts: [a.com], tls: [{match: [{sniHosts: [b.com]}], route: [{destination: {host: a}}]}]}",
    ".tls[0].match[0].sniHosts[0]", "none of the VirtualService's hosts"
  ),
  (.virtualService, "{hosts: [a], tcp: [{match: [{port: 1}]}]}", ".tcp[0]", "say where to"),
  (
    .virtualService,
    "{hosts: [a], http: [{route: [{destination: {host: a}}, {destination: {host: b}}]}]}",
    ".http[0].route", "above 0"
  ),
  (
    .virtualService, "{hosts: [a], http: [{route: [{destination: {host: a}, weight: -1}]}]}",
    ".http[0].route[0].weight", "not -1"
  ),
  (
    .virtualService, "{hosts: [a], http: [{route: [{weight: 1}]}]}",
    ".http[0].route[0].destination",
    "names its 'host'"
  ),
  (
    .virtualService,
    "{hosts: [a], http: [{route: [{destination: {host: a, port: {number: 70000}}}]}]}",
    ".http[0].route[0].destination.port.number", "not 70000"
  ),
  (.destinationRule, "{subsets: [{name: v1}]}", "", "names its 'host'"),
  (.destinationRule, "{host: a, subsets: [{name: v1}, {name: v1}]}", ".subsets[1].name", "'v1'"),
  (.destinationRule, "{host: a, subsets: [{labels: {a: b}}]}", ".subsets[0]", "a 'name'"),
  (.destinationRule, "{host: a, trafficPolicy: {}}", ".trafficPolicy", "says nothing"),
  (
    .destinationRule,
    "{host: a, trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true, "
      + "maglev: {tableSize: 100}}}}}", ".trafficPolicy.loadBalancer.consistentHash.maglev", "prime"
  ),
  (
    .destinationRule, "{host: a, trafficPolicy: {loadBalancer: {consistentHash: {}}}}",
    ".trafficPolicy.loadBalancer.consistentHash", "says what is hashed"
  ),
  (
    .destinationRule,
    "{host: a, trafficPolicy: {tls: {mode: MUTUAL, clientCertificate: /c}}}", ".trafficPolicy.tls",
    "needs a 'privateKey'"
  ),
  (
    .destinationRule, "{host: a, trafficPolicy: {tls: {mode: ISTIO_MUTUAL, privateKey: /k}}}",
    ".trafficPolicy.tls.privateKey", "remove 'privateKey'"
  ),
  (
    .destinationRule, "{host: a, trafficPolicy: {outlierDetection: {maxEjectionPercent: 101}}}",
    ".trafficPolicy.outlierDetection.maxEjectionPercent", "not 101"
  ),
  (
    .destinationRule,
    "{host: a, trafficPolicy: {outlierDetection: {consecutiveLocalOriginFailures: 1}}}",
    ".trafficPolicy.outlierDetection.consecutiveLocalOriginFailures", "splitExternal"
  ),
  (
    .destinationRule, "{host: a, trafficPolicy: {connectionPool: {tcp: {maxConnections: -1}}}}",
    ".trafficPolicy.connectionPool.tcp.maxConnections", "not -1"
  ),
  (
    .destinationRule, "{host: a, trafficPolicy: {portLevelSettings: [{tls: {mode: SIMPLE}}]}}",
    ".trafficPolicy.portLevelSettings[0]", "name it"
  ),
  (
    .destinationRule,
    "{host: a, exportTo: ['*'], workloadSelector: {matchLabels: {a: b}}, trafficPolicy: "
      + "{tls: {mode: SIMPLE}}}", ".exportTo", "shown there alone"
  ),
  (
    .destinationRule,
    "{host: a, trafficPolicy: {loadBalancer: {localityLbSetting: {distribute: "
      + "[{from: a/*, to: {b/*: 50}}]}}}}",
    ".trafficPolicy.loadBalancer.localityLbSetting.distribute[0].to", "add up to 100, not 50"
  ),
  (.gateway, "{}", "", "has 'servers'"),
  (
    .gateway, "{servers: [{port: {number: 443, name: a, protocol: HTTPS}, hosts: [a]}]}",
    ".servers[0]", "has 'tls'"
  ),
  (
    .gateway, "{servers: [{port: {number: 80, name: a, protocol: HTP}, hosts: [a]}]}",
    ".servers[0].port.protocol", "no protocol"
  ),
  (
    .gateway,
    "{servers: [{port: {number: 80, name: a, protocol: HTTP}, hosts: [a]}, "
      + "{port: {number: 81, name: a, protocol: HTTP}, hosts: [a]}]}", ".servers[1].port.name",
    "named 'a'"
  ),
  (
    .gateway,
    "{servers: [{port: {number: 80, name: a, protocol: HTTP}, hosts: [a], tls: {mode: SIMPLE}}]}",
    ".servers[0].tls", "in the clear"
  ),
  (
    .gateway,
    "{servers: [{port: {number: 443, name: a, protocol: HTTPS}, hosts: [a], "
      + "tls: {mode: SIMPLE, serverCertificate: /c}}]}", ".servers[0].tls", "needs a 'privateKey'"
  ),
  (.serviceEntry, "{ports: [{number: 80, name: a}]}", "", "has 'hosts'"),
  (.serviceEntry, "{hosts: ['*'], resolution: NONE}", ".hosts[0]", "every host"),
  (
    .serviceEntry, "{hosts: [a.com], resolution: NONE, endpoints: [{address: 10.0.0.1}]}",
    ".endpoints", "clients choose"
  ),
  (.serviceEntry, "{hosts: ['*.a.com'], resolution: DNS}", ".hosts", "no name server"),
  (
    .serviceEntry, "{hosts: [a.com], resolution: STATIC, endpoints: [{address: b.com}]}",
    ".endpoints[0].address", "no IP address"
  ),
  (
    .serviceEntry,
    "{hosts: [a.com], resolution: STATIC, ports: [{number: 80, name: http}], "
      + "endpoints: [{address: 10.0.0.1, ports: {htp: 1}}]}", ".endpoints[0].ports[\"htp\"]",
    "did you mean 'http'"
  ),
  (
    .serviceEntry, "{hosts: [a.com], resolution: DNS, addresses: [10.0.0.0/8]}", ".addresses[0]",
    "a subnet"
  ),
  (.serviceEntry, "{hosts: [a.com], ports: [{number: 80}]}", ".ports[0]", "has a 'name'"),
  (
    .serviceEntry, "{hosts: [a.com], ports: [{number: 80, name: a}, {number: 80, name: b}]}",
    ".ports[1].number", "already"
  ),
  (.workloadEntry, "{ports: {a: 1}}", "", "has an 'address'"),
  (.workloadEntry, "{address: 10.0.0.1, ports: {a: 0}}", ".ports[\"a\"]", "not 0"),
  (.sidecar, "{egress: [{}]}", ".egress[0]", "has 'hosts'"),
  (.sidecar, "{egress: [{hosts: [reviews]}]}", ".egress[0].hosts[0]", "<namespace>/<host>"),
  (
    .sidecar,
    "{egress: [{hosts: [./*]}, {port: {number: 80, protocol: HTTP}, hosts: [./*]}]}", ".egress[0]",
    "make it the last"
  ),
  (
    .sidecar, "{ingress: [{port: {number: 80, protocol: HTTP}, defaultEndpoint: 'x'}]}",
    ".ingress[0].defaultEndpoint", "no endpoint"
  ),
  (.sidecar, "{}", "", "says nothing"),
  (.authorizationPolicy, "{rules: [{from: []}]}", ".rules[0].from", "match nothing"),
  (.authorizationPolicy, "{rules: [{from: [{}]}]}", ".rules[0].from[0]", "who is meant"),
  (.authorizationPolicy, "{rules: [{to: [{operation: {}}]}]}", ".rules[0].to[0]", "what is meant"),
  (.authorizationPolicy, "{action: DENY}", "", "never applied"),
  (.authorizationPolicy, "{action: CUSTOM, rules: [{}]}", "", "has a 'provider'"),
  (.authorizationPolicy, "{provider: {name: a}}", ".provider", "for 'action: CUSTOM'"),
  (
    .authorizationPolicy, "{rules: [{when: [{key: source.namspace, values: [a]}]}]}",
    ".rules[0].when[0].key", "did you mean 'source.namespace'"
  ),
  (
    .authorizationPolicy, "{rules: [{from: [{source: {ipBlocks: [10.0.0]}}]}]}",
    ".rules[0].from[0].source.ipBlocks[0]", "no IP address"
  ),
  (
    .authorizationPolicy, "{action: DENY, rules: [{to: [{operation: {methods: [GET]}}]}]}",
    ".rules[0]", "add 'ports'"
  ),
  (.requestAuthentication, "{jwtRules: [{}]}", ".jwtRules[0]", "its 'issuer'"),
  (
    .requestAuthentication, "{jwtRules: [{issuer: a, jwksUri: a.com}]}", ".jwtRules[0].jwksUri",
    "no address"
  ),
  (
    .requestAuthentication, "{jwtRules: [{issuer: a, jwks: '{}', jwksUri: 'https://a.com'}]}",
    ".jwtRules[0].jwks", "exclude each other"
  ),
  (
    .requestAuthentication, "{jwtRules: [{issuer: a, fromHeaders: [{prefix: b}]}]}",
    ".jwtRules[0].fromHeaders[0]", "no name of a header"
  ),
  (.service, "{}", "", "has 'ports'"),
  (.service, "{ports: [{port: 80, name: a}, {port: 80, name: b}]}", ".ports[1].port", "80 (TCP)"),
  (.service, "{ports: [{port: 80, name: a}, {port: 81, name: a}]}", ".ports[1].name", "named 'a'"),
  (.service, "{ports: [{port: 80, name: a}, {port: 81}]}", ".ports[1]", "give it one"),
  (.service, "{ports: [{port: 70000}]}", ".ports[0].port", "not 70000"),
  (.service, "{ports: [{port: 80, protocol: HTTP}]}", ".ports[0].protocol", "no transport"),
  (
    .deployment, "{selector: {matchLabels: {app: a}}, template: {metadata: {labels: {app: b}}}}",
    ".selector.matchLabels[\"app\"]", "selects its own pods"
  ),
  (.meshConfig, "{proxyListenPort: 70000}", ".proxyListenPort", "not 70000"),
  (.meshConfig, "{extensionProviders: [{prometheus: {}}]}", ".extensionProviders[0]", "'name'"),
  (
    .meshConfig, "{extensionProviders: [{name: a, prometheus: {}}, {name: a, prometheus: {}}]}",
    ".extensionProviders[1].name", "there already"
  ),
  (.meshConfig, "{extensionProviders: [{name: a}]}", ".extensionProviders[0]", "nothing of what"),
  (
    .meshConfig, "{extensionProviders: [{name: a, zipkin: {service: z}}]}",
    ".extensionProviders[0].zipkin", "known to Istio"
  ),
  (
    .meshConfig,
    "{extensionProviders: [{name: a, envoyFileAccessLog: {logFormat: {text: '%START_TIM%'}}}]}",
    ".extensionProviders[0].envoyFileAccessLog.logFormat.text", "did you mean %START_TIME%"
  ),
  (
    .meshConfig,
    "{extensionProviders: [{name: a, envoyFileAccessLog: {logFormat: {labels: {a: {b: '%'}}}}}]}",
    ".extensionProviders[0].envoyFileAccessLog.logFormat.labels", "write %%"
  ),
  (.meshConfig, "{accessLogFormat: '%START_TIME'}", ".accessLogFormat", "no operator"),
  (
    .meshConfig, "{accessLogFormat: '[]', accessLogEncoding: JSON}", ".accessLogFormat",
    "a JSON object"
  ),
  (
    .meshConfig, "{defaultProviders: {accessLogging: [envy]}}",
    ".defaultProviders.accessLogging[0]", "did you mean 'envoy'"
  ),
  (
    .meshConfig, "{defaultProviders: {tracing: [zipkin]}}", ".defaultProviders.tracing",
    "no spans are made"
  ),
  (.meshConfig, "{defaultConfig: {statusPort: 15020}}", ".defaultConfig", "'fairleadctl up'"),
  (.meshConfig, "{defaultConfig: {concurrency: -1}}", ".defaultConfig.concurrency", "0 or more"),
  (.proxyConfig, "{concurrency: -1}", ".concurrency", "0 or more"),
  (
    .proxyConfig, "{environmentVariables: {'A=B': c}}", ".environmentVariables[\"A=B\"]",
    "no name of a variable"
  ),
  (.proxyConfig, "{selector: {}}", ".selector", "selects every workload"),
  (
    .telemetry, "{selector: {matchLabels: {a: b}}, targetRefs: [{kind: Gateway, name: a}]}",
    ".selector", "remove one"
  ),
  (
    .telemetry, "{accessLogging: [{providers: [{name: a}, {}]}]}",
    ".accessLogging[0].providers[1]", "'name'"
  ),
  (
    .telemetry, "{accessLogging: [{filter: {expression: 'response.code ='}}]}",
    ".accessLogging[0].filter.expression", "no expression that Envoy would take"
  ),
  (
    .telemetry, "{accessLogging: [{filter: {expression: 'request.path.matches(\"a(\")'}}]}",
    ".accessLogging[0].filter.expression", "RE2"
  ),
  (.telemetry, "{tracing: [{}, {}]}", ".tracing[1]", "the last counts"),
  (
    .telemetry, "{tracing: [{randomSamplingPercentage: 101}]}",
    ".tracing[0].randomSamplingPercentage", "from 0 to 100"
  ),
  (
    .telemetry, "{tracing: [{customTags: {a: {literal: {}}}}]}",
    ".tracing[0].customTags[\"a\"].literal", "'value'"
  ),
  (
    .telemetry, "{tracing: [{customTags: {a: {header: {}}}}]}",
    ".tracing[0].customTags[\"a\"].header", "which header"
  ),
  (
    .telemetry, "{metrics: [{overrides: [{tagOverrides: {a: {}}}]}]}",
    ".metrics[0].overrides[0].tagOverrides[\"a\"]", "UPSERT has a 'value'"
  ),
  (
    .telemetry, "{metrics: [{overrides: [{tagOverrides: {a: {operation: REMOVE, value: b}}}]}]}",
    ".metrics[0].overrides[0].tagOverrides[\"a\"].value", "remove it"
  ),
  (
    .telemetry, "{metrics: [{overrides: [{match: {customMetric: ''}}]}]}",
    ".metrics[0].overrides[0].match.customMetric", "a metric has a name"
  ),
]

@Suite("What is wrong with one object")
struct ObjectCheckTests {
  @Test("an object that can work is taken", arguments: good)
  func takesGood(kind: MeshKind, spec: String) throws {
    #expect(try findings(kind, spec) == [])
  }

  @Test("a route that cannot work is refused where it is written", arguments: badRoutes)
  func refusesRoute(route: String, path: String, phrase: String) throws {
    try check(.virtualService, "{hosts: [a], http: [\(route)]}", phrase, at: ".http[0]" + path)
  }

  @Test("so is what it says besides", arguments: badPolicies)
  func refusesPolicy(policy: String, path: String, phrase: String) throws {
    let route = "{\(policy), route: [{destination: {host: a}}]}"
    try check(.virtualService, "{hosts: [a], http: [\(route)]}", phrase, at: ".http[0]" + path)
  }

  @Test("any object that cannot work is refused where it is written", arguments: bad)
  func refusesBad(kind: MeshKind, spec: String, path: String, phrase: String) throws {
    try check(kind, spec, phrase, at: path)
  }

  @Test("fields that slipped one level out are told apart from a catch-all")
  func slippedIndentation() throws {
    let text = """
      apiVersion: networking.istio.io/v1
      kind: VirtualService
      metadata: {name: a}
      spec:
        hosts: [a]
        http:
        - match:
          - uri:
            exact: /b
          route:
          - destination: {host: a}
      """
    let document = try #require(try ObjectFile.read(Array(text.utf8), name: "a.yaml").first)
    let reading = ObjectReader.read(document)
    #expect(reading.object == nil)
    #expect(reading.diagnostics.map(\.line) == [9])
  }

  @Test("the longest expression that is taken has 1024 bytes")
  func longExpressions() throws {
    func spec(_ length: Int) -> String {
      let pattern = String(repeating: "a", count: length)
      return "{hosts: [a], http: [{match: [{uri: {regex: \(pattern)}}], redirect: {uri: /}}]}"
    }
    #expect(try findings(.virtualService, spec(1024)) == [])
    #expect(try findings(.virtualService, spec(1025)).count == 1)
  }

  @Test("sizes of Maglev's table are primes")
  func primes() {
    #expect(
      (0...30).filter { LoadBalancerCheck.isPrime($0) } == [2, 3, 5, 7, 11, 13, 17, 19, 23, 29])
  }

  @Test("one bad object among many leaves the others in force")
  func oneAmongMany() {
    func rule(_ number: Int, _ answer: String) -> String {
      "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: r\(number)}\n"
        + "spec: {hosts: [r\(number).test], http: [{\(answer)}]}\n---\n"
    }
    var store = MeshStore(check: ObjectCheck.check)
    let first = (0..<100).map { rule($0, "directResponse: {status: 200}") }.joined()
    _ = store.update(["a.yaml": Array(first.utf8)])
    let second = (0..<100).map {
      rule($0, $0 == 57 ? "timeout: 1s" : "directResponse: {status: 201}")
    }.joined()
    let changed = store.update(["a.yaml": Array(second.utf8)])
    #expect(changed.count == 99)
    #expect(store.objects.count == 100)
    #expect(store.entries.filter(\.value.isRefused).map(\.key.name) == ["r57"])
    #expect(store.diagnostics.map(\.line) == [57 * 5 + 4])
  }
}
