import Engine
import GRPC

extension ControlPlane {
  /// A second port, over TLS, for those who can be known: all that discovery has to know of identities.
  package struct SecuredPort {
    package var address: SocketAddress
    package var security: RPCSecurity
    /// What is answered besides discovery.
    package var methods: [String: (RPCServerCall) -> RPCServerHandler]
    /// Who a caller has proved to be; throws what it is answered instead.
    package var caller: (RPCServerCall) throws(RPCStatus) -> Caller
    /// What workloads are to trust, in PEM.
    package var roots: () -> [UInt8]
    /// Another number whenever something else signs, or is trusted.
    package var revision: () -> UInt64
    /// A proxy says that it lives elsewhere.
    package var onForeignNode: () -> Void
    /// A connection ended before it could carry calls; with the reason.
    package var onRefusal: (SocketAddress, String) -> Void
    /// What is counted there, for `/metrics`.
    package var counters: () -> [(name: String, value: UInt64)]

    package init(
      address: SocketAddress, security: RPCSecurity,
      methods: [String: (RPCServerCall) -> RPCServerHandler],
      caller: @escaping (RPCServerCall) throws(RPCStatus) -> Caller,
      roots: @escaping () -> [UInt8], revision: @escaping () -> UInt64,
      onForeignNode: @escaping () -> Void, onRefusal: @escaping (SocketAddress, String) -> Void,
      counters: @escaping () -> [(name: String, value: UInt64)]
    ) {
      self.address = address
      self.security = security
      self.methods = methods
      self.caller = caller
      self.roots = roots
      self.revision = revision
      self.onForeignNode = onForeignNode
      self.onRefusal = onRefusal
      self.counters = counters
    }
  }

  /// Somebody who has proved who they are.
  package struct Caller {
    package var namespace: String
    /// `spiffe://…`
    package var identity: String
    /// Makes a key and a certificate of that name; throws a sentence.
    package var makeCredential: () throws(RPCStatus) -> Credential

    package init(
      namespace: String, identity: String,
      makeCredential: @escaping () throws(RPCStatus) -> Credential
    ) {
      self.namespace = namespace
      self.identity = identity
      self.makeCredential = makeCredential
    }
  }

  /// What a workload proves its identity by.
  package struct Credential {
    /// PEM.
    package var key: [UInt8]
    /// The certificate and what leads to a root, in PEM.
    package var chain: [UInt8]
    /// When it is time for the next one, in seconds since 1970.
    package var renewal: Int

    package init(key: [UInt8], chain: [UInt8], renewal: Int) {
      self.key = key
      self.chain = chain
      self.renewal = renewal
    }
  }
}
