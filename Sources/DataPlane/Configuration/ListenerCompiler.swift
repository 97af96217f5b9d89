import Engine
import HTTPModel
import ResourceModel
import Resources
import Routing
import SwiftProtobuf
import Telemetry

/// Compiles listeners; their connection managers are `ManagerCompiler`'s.
struct ListenerCompiler {
  typealias Listener = Envoy_Config_Listener_V3_Listener

  let context: CompileContext
  private(set) var managers: [CompiledManager] = []

  init(context: CompileContext) { self.context = context }

  /// nil when it has a mistake, which is in the diagnostics.
  mutating func compile(_ listener: Listener, at path: ConfigPath) -> Ref<ListenerConfig>? {
    guard let address = socketAddress(listener.address, at: path.field("address")),
      let filter = listener.filterChains.first?.filters.first,
      let message = try? ManagerCompiler.Message(serializedBytes: filter.typedConfig.value)
    else { return nil }
    let place = path.field("filter_chains").index(0).field("filters").index(0)
      .field("typed_config")
    let limit =
      listener.hasPerConnectionBufferLimitBytes
      ? Int(listener.perConnectionBufferLimitBytes.value) : Defaults.connectionBufferLimitBytes
    let compiled = ManagerCompiler(context: context, index: managers.count, bufferLimit: limit)
      .compile(message, at: place)
    managers.append(compiled)
    let scope =
      listener.statPrefix.isEmpty ? Self.statName(address.description) : listener.statPrefix
    return .immortal(
      ListenerConfig(
        name: .immortal(listener.name.isEmpty ? address.description : listener.name),
        address: address, isWildcard: Self.isWildcard(address) || address.port == 0,
        options: options(listener), bufferLimit: limit, manager: compiled.manager,
        stats: .immortal(
          ListenerStats(scope: scope, managerPrefix: message.statPrefix, in: context.store)),
        accessLogs: .immortal(
          AccessLogCompiler(context: context).compile(
            listener.accessLog, at: path.field("access_log")))))
  }

  private func options(_ listener: Listener) -> ListenSocket.Options {
    var options = ListenSocket.Options()
    options.backlog =
      listener.hasTcpBacklogSize
      ? Int32(clamping: listener.tcpBacklogSize.value) : Defaults.tcpBacklogSize
    options.unixMode = listener.address.pipe.mode
    options.reusePort = !listener.hasEnableReusePort || listener.enableReusePort.value
    return options
  }

  /// Colons would end a statistic's name.
  private static func statName(_ text: String) -> String {
    String(text.map { $0 == ":" ? "_" : $0 })
  }

  private static func isWildcard(_ address: SocketAddress) -> Bool {
    guard !address.isUnix else { return false }
    let bytes = address.ipBytes
    for index in 0..<16 where bytes[index] != 0 { return false }
    return true
  }

  func socketAddress(
    _ address: Envoy_Config_Core_V3_Address, at path: ConfigPath
  ) -> SocketAddress? {
    switch address.address {
    case .socketAddress(let socket):
      let port = UInt16(truncatingIfNeeded: socket.portValue)
      if let parsed = SocketAddress(ip: socket.address, port: port) { return parsed }
      let place = path.field("socket_address").field("address")
      guard !context.diagnostics.hasError(at: place) else { return nil }
      context.diagnostics.error(
        at: place,
        "a listener needs an IP address; '\(socket.address)' is not one")
    case .pipe(let pipe):
      if let parsed = SocketAddress(unixPath: pipe.path) { return parsed }
      context.diagnostics.error(
        at: path.field("pipe").field("path"),
        "the path of a Unix socket has 1 to 107 bytes; this one has \(pipe.path.utf8.count)")
    case nil: break
    }
    return nil
  }

  /// For requests of our own: no filters, no routes of the configuration, no logs.
  func makeCallManager() -> Ref<ConnectionManager> {
    var message = ManagerCompiler.Message()
    message.statPrefix = "async-client"
    return ManagerCompiler(
      context: context, index: -1, bufferLimit: Defaults.connectionBufferLimitBytes
    ).bare(message)
  }
}
