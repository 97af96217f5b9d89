import Engine
import GRPC

extension ControlPlane {
  /// A second port, over TLS, for those who can be known: all that discovery has to know of identities.
  package struct SecuredPort {
    package var address: SocketAddress
    package var security: RPCSecurity
    /// What is answered besides discovery.
    package var methods: [String: (RPCServerCall) -> RPCServerHandler]
    /// In which namespace a caller has proved to live; throws what it is answered instead.
    package var callerNamespace: (RPCServerCall) throws(RPCStatus) -> String
    /// A proxy says that it lives elsewhere.
    package var onForeignNode: () -> Void
    /// A connection ended before it could carry calls; with the reason.
    package var onRefusal: (SocketAddress, String) -> Void
    /// What is counted there, for `/metrics`.
    package var counters: () -> [(name: String, value: UInt64)]

    package init(
      address: SocketAddress, security: RPCSecurity,
      methods: [String: (RPCServerCall) -> RPCServerHandler],
      callerNamespace: @escaping (RPCServerCall) throws(RPCStatus) -> String,
      onForeignNode: @escaping () -> Void, onRefusal: @escaping (SocketAddress, String) -> Void,
      counters: @escaping () -> [(name: String, value: UInt64)]
    ) {
      self.address = address
      self.security = security
      self.methods = methods
      self.callerNamespace = callerNamespace
      self.onForeignNode = onForeignNode
      self.onRefusal = onRefusal
      self.counters = counters
    }
  }
}
