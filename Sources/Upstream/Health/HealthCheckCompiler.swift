import Engine
import ResourceModel
import Resources
import SwiftProtobuf

/// Compiles `health_checks` of a cluster.
struct HealthCheckCompiler {
  typealias Message = Envoy_Config_Core_V3_HealthCheck

  let diagnostics: Diagnostics

  /// nil when there is none, or it is wrong.
  func compile(
    _ cluster: Envoy_Config_Cluster_V3_Cluster, at path: ConfigPath
  ) -> Ref<HealthCheckConfig>? {
    let checks = cluster.healthChecks
    guard let check = checks.first else { return nil }
    guard checks.count == 1 else {
      diagnostics.error(at: path.index(1), "a cluster has one health check at most")
      return nil
    }
    let path = path.index(0)
    guard let question = question(check, at: path) else { return nil }
    return .configured(
      HealthCheckConfig(
        question: question, timeout: max(1, check.timeout.milliseconds),
        intervals: intervals(check),
        thresholds: .init(
          unhealthy: max(1, check.unhealthyThreshold.value),
          healthy: max(1, check.healthyThreshold.value)),
        reusesConnection: check.hasReuseConnection ? check.reuseConnection.value : true,
        protocols: protocols(check.tlsOptions, at: path.field("tls_options"))))
  }

  private func protocols(_ options: Message.TlsOptions, at path: ConfigPath) -> Bytes {
    for (index, name) in options.alpnProtocols.enumerated()
    where name.isEmpty || name.utf8.count > 255 {
      diagnostics.error(
        at: path.field("alpn_protocols").index(index), "a protocol's name has 1 to 255 bytes")
    }
    return HealthCheckConfig.protocolList(options.alpnProtocols)
  }

  private func intervals(_ check: Message) -> HealthCheckConfig.Intervals {
    func either(_ isSet: Bool, _ duration: Google_Protobuf_Duration, _ other: UInt64) -> UInt64 {
      isSet ? max(1, duration.milliseconds) : other
    }
    let ordinary = max(1, check.interval.milliseconds)
    let unhealthy = either(check.hasUnhealthyInterval, check.unhealthyInterval, ordinary)
    let noTraffic = either(
      check.hasNoTrafficInterval, check.noTrafficInterval, Defaults.healthCheckNoTrafficInterval)
    return HealthCheckConfig.Intervals(
      ordinary: ordinary, unhealthy: unhealthy,
      healthyEdge: either(check.hasHealthyEdgeInterval, check.healthyEdgeInterval, ordinary),
      unhealthyEdge: either(
        check.hasUnhealthyEdgeInterval, check.unhealthyEdgeInterval, unhealthy),
      noTraffic: noTraffic,
      noTrafficHealthy: either(
        check.hasNoTrafficHealthyInterval, check.noTrafficHealthyInterval, noTraffic),
      initialJitter: check.initialJitter.milliseconds, jitter: check.intervalJitter.milliseconds,
      jitterPercent: UInt64(check.intervalJitterPercent))
  }

  private func question(
    _ check: Message, at path: ConfigPath
  ) -> HealthCheckConfig.Question? {
    switch check.healthChecker {
    case .httpHealthCheck(let http):
      return .http(self.http(http, at: path.field("http_health_check")))
    case .tcpHealthCheck(let tcp):
      return .tcp(self.tcp(tcp, at: path.field("tcp_health_check")))
    case .grpcHealthCheck(let grpc):
      let path = path.field("grpc_health_check")
      self.check(grpc.authority, at: path.field("authority"))
      return .grpc(
        GRPCHealthCheck(
          service: .configured(grpc.serviceName), authority: .configured(grpc.authority)))
    case nil:
      diagnostics.error(
        at: path, "http_health_check, tcp_health_check or grpc_health_check is needed")
      return nil
    }
  }

  // MARK: HTTP

  private func http(_ http: Message.HttpHealthCheck, at path: ConfigPath) -> HTTPHealthCheck {
    if http.method == .connect {
      diagnostics.error(at: path.field("method"), "CONNECT is no question")
    }
    let method = http.method == .methodUnspecified ? "GET" : "\(http.method)".uppercased()
    check(http.path, at: path.field("path"))
    check(http.host, at: path.field("host"))
    return HTTPHealthCheck(
      isHTTP2: http.codecClientType == .http2,
      method: .configured(method), path: .configured(http.path), host: .configured(http.host),
      fields: .configured(fields(http, at: path)),
      expected: ranges(
        http.expectedStatuses, otherwise: [StatusRange(first: 200, end: 201)],
        at: path.field("expected_statuses")),
      retriable: ranges(
        http.retriableStatuses, otherwise: [], at: path.field("retriable_statuses")))
  }

  /// Text that stands in a check's request as it is.
  func check(_ text: String, at path: ConfigPath) {
    guard text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
      return diagnostics.error(at: path, "a blank or a control character has no place here")
    }
  }

  private func fields(_ http: Message.HttpHealthCheck, at path: ConfigPath) -> String {
    let removed = Set(http.requestHeadersToRemove.map { $0.lowercased() })
    var fields = [(name: "user-agent", value: "Envoy/HC")]
    for (index, option) in http.requestHeadersToAdd.enumerated() {
      let place = path.field("request_headers_to_add").index(index).field("header")
      let name = option.header.key.lowercased()
      check(name, at: place.field("key"))
      if !option.header.value.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) {
        diagnostics.error(at: place.field("value"), "a control character has no place here")
      }
      if option.header.value.contains("%") {
        diagnostics.error(
          at: place.field("value"), "health checks have no request whose facts % could stand for")
      }
      // What is asked for without these additions, as in Envoy.
      let isHere = name == "user-agent"
      switch option.appendAction {
      case .addIfAbsent where isHere, .overwriteIfExists where !isHere: continue
      case .overwriteIfExistsOrAdd, .overwriteIfExists: fields.removeAll { $0.name == name }
      default: break
      }
      fields.append((name, option.header.value))
    }
    switch http.method {
    // RFC 9112 §6.3: these may have a body, and say that they have none; HTTP/2 says so by itself.
    case _ where http.codecClientType == .http2: break
    case .options, .put, .post, .patch: fields.append(("content-length", "0"))
    default: break
    }
    return fields.filter { !removed.contains($0.name) }
      .map { "\($0.name): \($0.value)\r\n" }.joined()
  }

  private func ranges(
    _ ranges: [Envoy_Type_V3_Int64Range], otherwise: [StatusRange], at path: ConfigPath
  ) -> Table<StatusRange> {
    for (index, range) in ranges.enumerated()
    where range.start >= range.end || range.start < 100 || range.end > 600 {
      diagnostics.error(
        at: path.index(index),
        "expected statuses from 100 up to 600, the start below the end, "
          + "found \(range.start) to \(range.end)")
    }
    let own = ranges.map {
      StatusRange(first: Int(clamping: $0.start), end: Int(clamping: $0.end))
    }
    return .configured(own.isEmpty ? otherwise : own)
  }

  // MARK: TCP

  private func tcp(_ tcp: Message.TcpHealthCheck, at path: ConfigPath) -> TCPHealthCheck {
    let receive = tcp.receive.enumerated().map { index, payload in
      Bytes.configured(bytes(payload, at: path.field("receive").index(index)))
    }
    return TCPHealthCheck(
      send: .configured(bytes(tcp.send, at: path.field("send"))), receive: .configured(receive))
  }

  private func bytes(_ payload: Message.Payload, at path: ConfigPath) -> [UInt8] {
    switch payload.payload {
    case .binary(let data): return Array(data)
    case .text(let text):
      if let bytes = Self.hexadecimal(text) { return bytes }
      diagnostics.error(at: path.field("text"), "expected hexadecimal digits in pairs")
      return []
    case nil: return []
    }
  }

  private static func hexadecimal(_ text: String) -> [UInt8]? {
    let digits = text.utf8.compactMap { Character(UnicodeScalar($0)).hexDigitValue }
    guard digits.count == text.utf8.count, digits.count.isMultiple(of: 2) else { return nil }
    return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] * 16 + digits[$0 + 1]) }
  }
}
