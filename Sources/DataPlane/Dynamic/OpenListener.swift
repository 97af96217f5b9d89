import CLinux
import Engine
import Resources

/// One version of a listener: its configuration, and its active listener on each worker. Main thread;
/// the active listeners are their workers'.
final class OpenListener {
  let config: Ref<ListenerConfig>
  /// Where it listens: for port 0, the kernel's choice.
  let address: SocketAddress
  /// What it says but for its chains, as `Message.key`; nil for one of the static configuration.
  let key: [UInt8]?
  /// Its filter chains; those that went to a newer version are taken from here then.
  var chains: [ChainVersion]
  let bound: ListenerBound?
  /// It was replaced by a version that takes over its unchanged chains.
  var isReplacedInPlace = false
  /// By worker.
  let active: [Ref<ActiveListener>]
  /// What it is compiled into; nil for the static configuration's, which last as long as the process.
  private let memory: ResourceMemory?
  /// Workers that still have a connection of it, once it was replaced.
  var holders: Int

  var name: String { config.value.name.string }

  init(
    _ compiled: CompiledListener, address: SocketAddress, active: [Ref<ActiveListener>]
  ) {
    config = compiled.config
    key = compiled.message?.withoutChains.key
    chains = compiled.chains
    bound = compiled.bound
    memory = compiled.memory
    self.address = address
    self.active = active
    holders = active.count
  }

  deinit {
    guard memory != nil else { return }
    for listener in active { listener.destroy() }
  }
}

/// A listener's configuration with what the main thread needs for it.
struct CompiledListener {
  let config: Ref<ListenerConfig>
  /// Nil for one of the static configuration.
  var message: ListenerCompiler.Listener?
  var chains: [ChainVersion] = []
  var bound: ListenerBound?
  var memory: ResourceMemory?
}

extension OpenListener {
  /// A newer version that differs in its filter chains alone takes over what is the same, as in Envoy:
  /// the sockets, and the unchanged chains with their connections.
  func differsInChainsAlone(from newer: ListenerCompiler.Listener) -> Bool {
    guard let key, !newer.filterChains.isEmpty else { return false }
    return key == newer.withoutChains.key
  }
}

extension ListenerCompiler.Listener {
  fileprivate var withoutChains: Self {
    var rest = self
    rest.filterChains = []
    rest.clearDefaultFilterChain()
    return rest
  }
}

extension Server {
  /// Why the kernel gave no socket.
  struct BindError: Error {
    let reason: String
  }

  /// A listener on every worker: with a socket for each, or, when `older` listens in the same place, in
  /// its place without any.
  func open(
    _ compiled: CompiledListener, inPlaceOf older: OpenListener? = nil
  ) throws(BindError) -> OpenListener {
    let config = compiled.config
    var active: [Ref<ActiveListener>] = []
    var address = older?.address ?? config.value.address
    for worker in workers {
      guard config.value.bindsToPort, older == nil else {
        active.append(.immortal(ActiveListener(config: config, worker: worker, fd: -1)))
        continue
      }
      let fd = bind(config, address, sharing: active.first?.value.fd)
      guard fd >= 0 else {
        for listener in active {
          if listener.value.fd >= 0 { _ = CLinux.close(listener.value.fd) }
          listener.destroy()
        }
        let reason = unsafe String(cString: strerror(-fd))
        throw BindError(reason: "cannot bind \(address.description): \(reason)")
      }
      // Port 0: the kernel chose one for the first worker, and the others join it there.
      if address.port == 0, !address.isUnix { address = ListenSocket.localAddress(of: fd) }
      active.append(.immortal(ActiveListener(config: config, worker: worker, fd: fd)))
    }
    return OpenListener(compiled, address: address, active: active)
  }

  private func bind(
    _ listener: Ref<ListenerConfig>, _ address: SocketAddress, sharing first: Int32?
  ) -> Int32 {
    // Without SO_REUSEPORT, and for a Unix path, all workers accept from one socket.
    if let first, address.isUnix || !listener.value.options.reusePort { return dup(first) }
    return ListenSocket.open(address, listener.value.options)
  }
}
