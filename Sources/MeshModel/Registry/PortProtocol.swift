/// What is spoken on a port of a service.
package enum PortProtocol: String, Sendable, CaseIterable {
  case http = "HTTP"
  case http2 = "HTTP2"
  case https = "HTTPS"
  case grpc = "GRPC"
  case grpcWeb = "GRPC-WEB"
  case tcp = "TCP"
  case tls = "TLS"
  case mongo = "Mongo"
  case mysql = "MySQL"
  case redis = "Redis"
  case udp = "UDP"
  /// Found out when a client speaks.
  case auto = "Auto"

  /// Requests are read, and routed one by one.
  package var isHTTP: Bool {
    switch self {
    case .http, .http2, .grpc, .grpcWeb: true
    default: false
    }
  }

  /// Spoken over HTTP/2 to endpoints.
  package var isHTTP2: Bool {
    switch self {
    case .http2, .grpc, .grpcWeb: true
    default: false
    }
  }

  /// Bytes are carried as they come; clients encrypt them themselves.
  package var isTLS: Bool { self == .https || self == .tls }

  /// Bytes are carried as they come.
  package var isTCP: Bool {
    switch self {
    case .tcp, .https, .tls, .mongo, .mysql, .redis: true
    default: false
    }
  }

  /// What a port's name says: a protocol, alone or with a `-` and anything behind it. Case does not
  /// matter; nil when it says nothing.
  package init?(portName: String) {
    let name = portName.lowercased()
    // The only protocol with a hyphen of its own.
    if name == "grpc-web" || name.hasPrefix("grpc-web-") {
      self = .grpcWeb
      return
    }
    self.init(word: String(name.prefix { $0 != "-" }))
  }

  /// What Kubernetes' `appProtocol` says; nil when it says nothing that we know.
  package init?(appProtocol: String) {
    switch appProtocol.lowercased() {
    case "kubernetes.io/h2c": self = .http2
    case "kubernetes.io/ws": self = .http
    case "kubernetes.io/wss": self = .https
    default: self.init(portName: appProtocol)
    }
  }

  /// What an Istio resource calls it, such as `GRPC`; nil when there is no such protocol.
  package init?(word: String) {
    switch word.lowercased() {
    case "http": self = .http
    case "http2": self = .http2
    case "https": self = .https
    case "grpc": self = .grpc
    case "grpc-web": self = .grpcWeb
    case "tcp": self = .tcp
    case "tls": self = .tls
    case "mongo": self = .mongo
    case "mysql": self = .mysql
    case "redis": self = .redis
    case "udp": self = .udp
    default: return nil
    }
  }

  /// What a port of a Kubernetes service speaks.
  /// - Parameter unnamed: what is spoken where nothing says so.
  package static func of(
    name: String, appProtocol: String, transport: String, port: UInt32, unnamed: PortProtocol
  ) -> PortProtocol {
    if transport.uppercased() == "UDP" { return .udp }
    if !appProtocol.isEmpty, let found = PortProtocol(appProtocol: appProtocol) { return found }
    if let found = PortProtocol(portName: name) { return found }
    // Of these the server speaks first, or clients speak nothing that could be told: SMTP, DNS, MySQL,
    // MongoDB.
    return [25, 53, 3306, 27017].contains(port) ? .tcp : unnamed
  }
}
