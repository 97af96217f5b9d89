/// What `up` writes for the control plane and for proxies.
enum LocalDocuments {
  /// The Pod of a workload, as Kubernetes would have it.
  static func pod(_ workload: LocalWorkload, isReady: Bool) -> JSONValue {
    object([
      ("apiVersion", .string("v1")), ("kind", .string("Pod")),
      (
        "metadata",
        object([
          ("name", .string(workload.name)), ("namespace", .string(workload.namespace)),
          // Its proxy takes mutual TLS.
          (
            "labels",
            texts(
              workload.labels.merging(["security.istio.io/tlsMode": "istio"]) { own, _ in own })
          ),
        ])
      ),
      (
        "spec",
        object([
          ("serviceAccountName", .string(workload.serviceAccount)),
          (
            "containers",
            .array([
              object([
                ("name", .string("app")),
                (
                  "ports",
                  .array(
                    workload.ports.map {
                      object([
                        ("name", .string($0.name)), ("containerPort", .number(String($0.number))),
                      ])
                    })
                ),
              ])
            ])
          ),
        ])
      ),
      (
        "status",
        object([
          ("phase", .string("Running")), ("podIP", .string(workload.addresses.proxy)),
          (
            "conditions",
            .array([
              object([
                ("type", .string("Ready")), ("status", .string(isReady ? "True" : "False")),
              ])
            ])
          ),
        ])
      ),
    ])
  }

  /// Documents of one file.
  static func file(_ documents: [JSONValue]) -> [UInt8] {
    Array(documents.map { "---\n" + JSONWriter.write($0) + "\n" }.joined().utf8)
  }

  /// What the proxy of a workload starts with; it has everything else from the control plane.
  static func bootstrap(_ workload: LocalWorkload, control: HTTPAddress) -> JSONValue {
    let addresses = workload.addresses
    let metadata = object([
      ("INTERCEPTION_MODE", .string("NONE")), ("BIND_ADDRESS", .string(addresses.outbound)),
      ("APPLICATION_ADDRESS", .string(addresses.application)),
      ("HTTP_PROXY_PORT", .string(String(LocalWorkload.httpProxyPort))),
      ("ADMIN_ADDRESS", .string("\(addresses.proxy):\(LocalWorkload.adminPort)")),
      ("NAME", .string(workload.name)), ("NAMESPACE", .string(workload.namespace)),
      ("SERVICE_ACCOUNT", .string(workload.serviceAccount)), ("LABELS", texts(workload.labels)),
    ])
    let id =
      "sidecar~\(addresses.proxy)~\(workload.fullName)"
      + "~\(workload.namespace).svc.cluster.local"
    return object([
      (
        "node",
        object([
          ("id", .string(id)), ("cluster", .string(workload.fullName)), ("metadata", metadata),
        ])
      ),
      ("admin", object([("address", address(addresses.proxy, LocalWorkload.adminPort))])),
      ("static_resources", object([("clusters", .array([cluster(control)]))])),
      (
        "dynamic_resources",
        object([
          (
            "ads_config",
            object([
              ("api_type", .string("DELTA_GRPC")), ("transport_api_version", .string("V3")),
              (
                "grpc_services",
                .array([object([("envoy_grpc", object([("cluster_name", .string("control"))]))])])
              ),
            ])
          ), ("cds_config", overADS), ("lds_config", overADS),
        ])
      ),
    ])
  }

  private static let overADS = object([
    ("ads", object([])), ("resource_api_version", .string("V3")),
  ])

  private static func cluster(_ control: HTTPAddress) -> JSONValue {
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    let http2 = object([
      ("@type", .string("type.googleapis.com/" + options)),
      ("explicit_http_config", object([("http2_protocol_options", object([]))])),
    ])
    let endpoint = object([("address", address(control.host, control.port))])
    return object([
      ("name", .string("control")), ("type", .string("STATIC")),
      ("connect_timeout", .string("1s")),
      ("typed_extension_protocol_options", object([(options, http2)])),
      (
        "load_assignment",
        object([
          ("cluster_name", .string("control")),
          (
            "endpoints",
            .array([object([("lb_endpoints", .array([object([("endpoint", endpoint)])]))])])
          ),
        ])
      ),
    ])
  }

  private static func address(_ host: String, _ port: UInt16) -> JSONValue {
    object([
      (
        "socket_address",
        object([("address", .string(host)), ("port_value", .number(String(port)))])
      )
    ])
  }

  private static func texts(_ values: [String: String]) -> JSONValue {
    object(values.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) })
  }

  private static func object(_ members: [(String, JSONValue)]) -> JSONValue {
    .object(members.map { JSONMember($0.0, $0.1) })
  }
}
