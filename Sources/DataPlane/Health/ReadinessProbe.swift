import Engine
import HTTPModel
import ResourceModel
import Resources
import SwiftProtobuf

/// How the application behind a proxy is checked: Istio's `readinessProbe`.
struct ReadinessProbe {
  enum Question {
    /// The request to write.
    case http([UInt8])
    /// Whether it can be connected to.
    case tcp
    case grpc(service: String)
  }

  let question: Question
  let address: SocketAddress
  /// What TLS begins with; nil: it is asked in the clear. As in Kubernetes, whoever answers is believed:
  /// it is the workload's own application.
  let security: TLSSource?
  /// Milliseconds.
  let initialDelay: UInt64
  let timeout: UInt64
  let period: UInt64
  let successThreshold: Int
  let failureThreshold: Int

  /// What Istio's agent calls itself.
  static let userAgent = "istio-probe/1.0"
}

/// Reads the probe from where Istio has it: `PROXY_CONFIG.readinessProbe` in the node's metadata.
struct ReadinessProbeCompiler {
  private typealias Fields = [String: Google_Protobuf_Value]

  let context: CompileContext
  private var diagnostics: Diagnostics { context.diagnostics }

  init(context: CompileContext) { self.context = context }

  /// One object of the probe, with its place.
  private struct Object {
    let fields: Fields
    let path: ConfigPath
  }

  private static let methods = ["httpGet", "tcpSocket", "exec", "grpc"]
  private static let numbers = [
    "initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold",
    "failureThreshold",
  ]

  /// Nil where there is none, or a mistake in it, which is in the diagnostics.
  func compile(_ node: Envoy_Config_Core_V3_Node, hasControlPlane: Bool) -> ReadinessProbe? {
    let metadata = Object(
      fields: node.metadata.fields, path: ConfigPath.root.field("node").field("metadata"))
    // The rest of PROXY_CONFIG is for others.
    guard let config = metadata.fields["PROXY_CONFIG"]?.structValue.fields,
      let value = config["readinessProbe"]
    else { return nil }
    let path = metadata.path.field("PROXY_CONFIG").field("readinessProbe")
    let before = diagnostics.errorCount
    guard let probe = object(value, path, known: Self.methods + Self.numbers) else { return nil }
    guard hasControlPlane else {
      diagnostics.error(
        at: path, "there is no dynamic_resources.ads_config, and so nobody to report to")
      return nil
    }
    let named = Self.methods.filter { probe.fields[$0] != nil }
    guard named.count == 1 else {
      diagnostics.error(
        at: path, "expected one of " + Self.methods.joined(separator: ", "))
      return nil
    }
    let made = compile(probe, by: named[0], on: host(node, metadata))
    return diagnostics.errorCount == before ? made : nil
  }

  private func compile(_ probe: Object, by method: String, on host: String) -> ReadinessProbe? {
    let place = probe.path.field(method)
    let value = probe.fields[method] ?? Google_Protobuf_Value()
    let target: Target?
    switch method {
    case "httpGet": target = http(value, place, on: host)
    case "tcpSocket": target = tcp(value, place, on: host)
    case "grpc": target = grpc(value, place, on: host)
    default:
      diagnostics.error(at: place, "commands are not supported; ask by httpGet, tcpSocket or grpc")
      target = nil
    }
    // Kubernetes' and Istio's defaults: 0 is none.
    let delay = number(probe, "initialDelaySeconds", default: 0)
    let timeout = number(probe, "timeoutSeconds", default: 1)
    let period = number(probe, "periodSeconds", default: 10)
    let successes = number(probe, "successThreshold", default: 1)
    let failures = number(probe, "failureThreshold", default: 1)
    guard let target else { return nil }
    return ReadinessProbe(
      question: target.question, address: target.address, security: target.security,
      initialDelay: UInt64(delay) * 1000,
      timeout: UInt64(timeout) * 1000, period: UInt64(period) * 1000,
      successThreshold: successes, failureThreshold: failures)
  }

  // MARK: Questions

  private struct Target {
    let question: ReadinessProbe.Question
    let address: SocketAddress
    var security: TLSSource?
  }

  private func http(
    _ value: Google_Protobuf_Value, _ path: ConfigPath, on host: String
  ) -> Target? {
    let known = ["path", "port", "host", "scheme", "httpHeaders"]
    guard let get = object(value, path, known: known) else { return nil }
    let scheme = text(get, "scheme").lowercased()
    if !["", "http", "https"].contains(scheme) {
      diagnostics.error(at: path.field("scheme"), "expected HTTP or HTTPS, found '\(scheme)'")
    }
    var resource = text(get, "path")
    if !resource.hasPrefix("/") { resource = "/" + resource }
    if !resource.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) {
      diagnostics.error(at: path.field("path"), "expected a path without blanks, percent-encoded")
    }
    var fields: [(name: String, value: String)] = []
    for (index, item) in (get.fields["httpHeaders"]?.listValue.values ?? []).enumerated() {
      let place = path.field("httpHeaders").index(index)
      guard let header = object(item, place, known: ["name", "value"]) else { continue }
      let (name, value) = (text(header, "name"), text(header, "value"))
      guard Self.isToken(name), value.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
        diagnostics.error(at: place, "expected the name of a field, and a value on one line")
        continue
      }
      fields.append((name, value))
    }
    guard let address = address(get, on: host) else { return nil }
    func has(_ name: String) -> Bool { fields.contains { $0.name.lowercased() == name } }
    var lines = "GET \(resource) HTTP/1.1\r\n"
    if !has("host") { lines += "host: \(address.description)\r\n" }
    if !has("user-agent") { lines += "user-agent: \(ReadinessProbe.userAgent)\r\n" }
    for (name, value) in fields { lines += "\(name): \(value)\r\n" }
    let request = Array((lines + "connection: close\r\n\r\n").utf8)
    var target = Target(question: .http(request), address: address)
    if scheme == "https" {
      target.security = TransportSocketCompiler(context).unverified(
        at: path, scope: "application_probe.")
    }
    return target
  }

  private func tcp(
    _ value: Google_Protobuf_Value, _ path: ConfigPath, on host: String
  ) -> Target? {
    guard let socket = object(value, path, known: ["host", "port"]),
      let address = address(socket, on: host)
    else { return nil }
    return Target(question: .tcp, address: address)
  }

  private func grpc(
    _ value: Google_Protobuf_Value, _ path: ConfigPath, on host: String
  ) -> Target? {
    guard let grpc = object(value, path, known: ["port", "service"]),
      let address = address(grpc, on: host)
    else { return nil }
    return Target(question: .grpc(service: text(grpc, "service")), address: address)
  }

  /// RFC 9110 §5.6.2.
  private static func isToken(_ name: String) -> Bool {
    !name.isEmpty
      && name.utf8.allSatisfy { byte in
        UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte
          || UInt8(ascii: "A")...UInt8(ascii: "Z") ~= byte
          || UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte || "!#$%&'*+-.^_`|~".utf8.contains(byte)
      }
  }

  // MARK: Fields

  private func object(
    _ value: Google_Protobuf_Value, _ path: ConfigPath, known: [String]
  ) -> Object? {
    guard case .structValue(let structure)? = value.kind else {
      diagnostics.error(at: path, "expected an object")
      return nil
    }
    for name in structure.fields.keys.sorted() where !known.contains(name) {
      diagnostics.error(
        at: path.field(name),
        "no such field '\(name)'" + Suggestion.phrase(for: name, among: known))
    }
    return Object(fields: structure.fields, path: path)
  }

  private func text(_ object: Object, _ name: String) -> String {
    switch object.fields[name]?.kind {
    case nil: return ""
    case .stringValue(let text): return text
    default:
      diagnostics.error(at: object.path.field(name), "expected a text")
      return ""
    }
  }

  private func number(_ object: Object, _ name: String, default fallback: Int) -> Int {
    switch object.fields[name]?.kind {
    case nil: return fallback
    case .numberValue(let number):
      if let whole = Int32(exactly: number), whole >= 0 {
        return whole == 0 ? fallback : Int(whole)
      }
      fallthrough
    default:
      diagnostics.error(at: object.path.field(name), "expected a whole number, 0 or more")
      return fallback
    }
  }

  /// Where the application is, unless the probe says so: at the workload's address.
  private func host(_ node: Envoy_Config_Core_V3_Node, _ metadata: Object) -> String {
    func text(_ name: String) -> String { metadata.fields[name]?.stringValue ?? "" }
    let own = text("APPLICATION_ADDRESS")
    if !own.isEmpty { return own }
    let first = text("INSTANCE_IPS").split(separator: ",").first.map(String.init) ?? ""
    if !first.isEmpty { return first }
    // `sidecar~10.0.0.1~web-0.shop~shop.svc.cluster.local`
    let parts = node.id.split(separator: "~", omittingEmptySubsequences: false)
    return parts.count == 4 && !parts[1].isEmpty ? String(parts[1]) : Self.localhost
  }

  private static let localhost = "127.0.0.1"

  private func address(_ object: Object, on host: String) -> SocketAddress? {
    let port = number(object, "port", default: 0)
    guard let port = UInt16(exactly: port), port > 0 else {
      diagnostics.error(at: object.path.field("port"), "expected a port, 1 to 65535")
      return nil
    }
    let named = text(object, "host")
    let host = named.isEmpty ? host : named == "localhost" ? Self.localhost : named
    let isBracketed = host.hasPrefix("[") && host.hasSuffix("]")
    let bare = isBracketed ? String(host.dropFirst().dropLast()) : host
    guard let address = SocketAddress(ip: bare, port: port) else {
      diagnostics.error(
        at: object.path.field("host"), "expected an IP address or localhost, found '\(host)'")
      return nil
    }
    return address
  }
}
