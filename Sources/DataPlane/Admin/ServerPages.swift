import AdminHTTP
import CLinux
import Engine
import Telemetry

/// What the process says about itself: `/server_info`, `/listeners`, `/runtime`, `/memory`.
struct ServerPages {
  let server: Server

  // MARK: /server_info

  /// `envoy.admin.v3.ServerInfo`.
  var info: AdminJSON {
    let uptime = AdminJSON.string(
      "\((fl_monotonic_ns() &- server.startedAt) / 1_000_000_000)s")
    return .object([
      ("version", .string(server.options.version)),
      ("state", .string(server.state.name)),
      ("uptime_current_epoch", uptime),
      ("uptime_all_epochs", uptime),
      ("hot_restart_version", .string("disabled")),
      ("command_line_options", options),
      ("node", node),
    ])
  }

  private var options: AdminJSON {
    let options = server.options
    return .object([
      ("concurrency", .integer(Int64(server.workers.count))),
      ("config_path", .string(options.configPath)),
      ("config_yaml", .string(options.configYAML)),
      ("log_level", .string(options.logLevel)),
      ("component_log_level", .string(options.componentLogLevel)),
      ("log_path", .string(options.logPath)),
      ("service_cluster", .string(options.serviceCluster)),
      ("service_node", .string(options.serviceNode)),
      ("service_zone", .string(options.serviceZone)),
      ("drain_time", .string("\(options.drainSeconds)s")),
      ("drain_strategy", .string("Immediate")),
      ("mode", .string("Serve")),
      ("disable_hot_restart", .bool(true)),
    ])
  }

  private var node: AdminJSON {
    let node = server.config.bootstrap.node
    let locality = [
      ("region", node.locality.region), ("zone", node.locality.zone),
      ("sub_zone", node.locality.subZone),
    ].filter { !$0.1.isEmpty }.map { (name: $0.0, value: AdminJSON.string($0.1)) }
    var members: [(name: String, value: AdminJSON)] = [
      ("id", .string(node.id)), ("cluster", .string(node.cluster)),
      ("user_agent_name", .string("fairlead")),
    ]
    if !locality.isEmpty { members.append(("locality", .object(locality))) }
    return .object(members)
  }

  // MARK: /listeners

  /// `name::address`, a line each.
  var listenersText: String {
    server.listeners.active.map { listener in
      "\(listener.config.value.name.string)::\(listener.address.description)\n"
    }.joined()
  }

  /// `envoy.admin.v3.Listeners`.
  var listeners: AdminJSON {
    let statuses = server.listeners.active.map { listener in
      AdminJSON.object([
        ("name", .string(listener.config.value.name.string)),
        ("local_address", AdminJSON(address: listener.address)),
      ])
    }
    return .object([("listener_statuses", .array(statuses))])
  }

  // MARK: /runtime

  /// Every key with its value in each layer, and the one that counts.
  var runtime: AdminJSON {
    let layers = server.config.layers
    let entries = layers.texts.sorted { $0.key < $1.key }.map { key, values in
      (
        name: key,
        value: AdminJSON.object([
          ("final_value", .string(values.last { !$0.isEmpty } ?? "")),
          ("layer_values", .array(values.map { .string($0) })),
        ])
      )
    }
    return .object([
      ("layers", .array(layers.layerNames.map { .string($0) })),
      ("entries", .object(entries)),
    ])
  }

  // MARK: /memory

  /// `envoy.admin.v3.Memory`, as far as the C library and the kernel know it.
  var memory: AdminJSON {
    let usage = MemoryUsage()
    return .object([
      ("allocated", .string(String(usage.allocated))),
      ("heap_size", .string(String(usage.heap))),
      ("pageheap_unmapped", .string("0")),
      ("pageheap_free", .string(String(usage.heap - min(usage.heap, usage.allocated)))),
      ("total_thread_cache", .string("0")),
      ("total_physical_bytes", .string(String(usage.resident))),
    ])
  }
}

/// Memory of the process, in bytes.
struct MemoryUsage {
  /// Handed out by the allocator.
  let allocated: UInt64
  /// Taken by the allocator from the kernel.
  let heap: UInt64
  /// In memory, of whatever kind.
  let resident: UInt64

  init() {
    allocated = fl_heap_allocated()
    heap = fl_heap_size()
    resident = fl_resident_bytes()
  }
}
