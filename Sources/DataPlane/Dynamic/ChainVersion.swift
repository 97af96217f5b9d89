import Engine
import ResourceModel
import SwiftProtobuf

/// One version of one filter chain of a listener, compiled. A newer version of the listener that has the
/// same chain takes it over as it is, with its connections. Main thread; the chain itself is read by
/// every worker for as long as this object lives.
final class ChainVersion {
  /// What it says, in bytes that are the same for the same message.
  let key: [UInt8]
  let chain: Ref<NetworkChain>
  /// The connection manager at its end, if there is one.
  let manager: CompiledManager?
  /// What it is laid out in; nil for the static configuration's, which last as long as the process.
  private let memory: ResourceMemory?

  init(
    _ key: [UInt8], _ chain: Ref<NetworkChain>, _ manager: CompiledManager?,
    in memory: ResourceMemory?
  ) {
    self.key = key
    self.chain = chain
    self.memory = memory
    self.manager = manager.map {
      var manager = $0
      manager.memory = memory
      return manager
    }
  }

  /// The number of its TLS configuration.
  var security: Int? { chain.value.security?.place }
}

extension Message {
  /// The message in bytes that are the same for the same message, whatever the order in its maps.
  var key: [UInt8] {
    var options = BinaryEncodingOptions()
    options.useDeterministicOrdering = true
    // Of messages that were read before; only a defect could keep one from being written.
    return (try? serializedBytes(options: options)) ?? []
  }
}

/// The bound for a listener's connections, which all its versions share that take over connections.
final class ListenerBound {
  let bound: ConnectionBound

  init(limit: UInt64) { bound = ConnectionBound(limit: limit) }

  deinit { bound.deallocate() }
}
