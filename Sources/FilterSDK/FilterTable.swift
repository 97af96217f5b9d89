public import CFilterABI

/// The C table of a Swift filter, for the host to call. Make one per filter, as a global constant:
///
///     public let abortFilter = FilterTable(AbortFilter.self)
///
/// SAFETY: the tables are written once, here, and live as long as the process.
@safe
public struct FilterTable: @unchecked Sendable {
  /// What the host registers, or what a shared object's `fairlead_filter` returns.
  public let table: UnsafePointer<fl_filter>

  /// Makes the table. A callback that `Filter` lacks is NULL in it, so that the host skips it.
  public init<Filter: HTTPFilter>(_: Filter.Type) {
    precondition(
      Filter._stateSize <= 4096 && Filter._stateAlignment <= 16,
      "a stream's state has at most 4096 bytes, aligned to at most 16")
    let immortal = UnsafeMutablePointer<TaggedTable>.allocate(capacity: 1)
    unsafe immortal.initialize(
      to: TaggedTable(table: Self.makeTable(Filter.self), filter: Filter.self))
    unsafe table = UnsafeRawPointer(immortal).assumingMemoryBound(to: fl_filter.self)
  }

  /// For the entry of a shared object: adopts the host. nil when it is not one we can work with.
  public func exported(to host: UnsafePointer<fl_host>) -> UnsafePointer<fl_filter>? {
    unsafe Host.adopt(host) ? table : nil
  }
}

/// A table, and behind it the filter that it belongs to.
@unsafe
private struct TaggedTable {
  /// First, so that a pointer to the whole is one to the table.
  let table: fl_filter
  let filter: any FilterEntryPoints.Type
}

/// What stands before every configuration that a filter returned from `load`.
@unsafe @frozen @usableFromInline
struct ConfigHeader {
  /// The configuration itself follows the header, aligned for anything.
  @usableFromInline static var size: Int { 32 }

  @usableFromInline let memory: Unmanaged<ConfigMemory>
  @usableFromInline let reserved: UInt = 0
  @usableFromInline let filter: any FilterEntryPoints.Type

  /// Puts a configuration behind a header, in its own memory, and returns where it is.
  static func box<Config: BitwiseCopyable>(
    _ config: Config, of filter: any FilterEntryPoints.Type, in memory: ConfigMemory
  ) -> UnsafeMutableRawPointer {
    // SAFETY: the allocation is aligned to 16, holds header and configuration, and goes with
    // `memory`, which the header keeps until `free`.
    let raw = unsafe UnsafeMutableRawPointer(
      memory.allocate(UInt8.self, count: size + MemoryLayout<Config>.size))
    unsafe raw.initializeMemory(
      as: ConfigHeader.self,
      to: ConfigHeader(memory: .passRetained(memory), filter: filter))
    unsafe (raw + size).initializeMemory(as: Config.self, to: config)
    return unsafe raw + size
  }

  static func free(_ config: UnsafeMutableRawPointer) {
    unsafe (config - size).load(as: ConfigHeader.self).memory.release()
  }
}

/// The filter behind a configuration. SAFETY: `config` came from `ConfigHeader.box`.
@inline(__always)
private func filter(of config: UnsafeRawPointer?) -> any FilterEntryPoints.Type {
  unsafe (config.unsafelyUnwrapped - ConfigHeader.size).load(as: ConfigHeader.self).filter
}

/// The filter behind a worker's state. SAFETY: `box` came from `_workerNew`.
@inline(__always)
private func filter(ofWorker box: UnsafeRawPointer?) -> any FilterEntryPoints.Type {
  unsafe box.unsafelyUnwrapped.load(as: WorkerHeader.self).filter
}

/// The filter whose configuration is being loaded. SAFETY: the host calls `load` of a table with
/// that table, and ours are all tagged.
private func filter(loading config: OpaquePointer) -> any FilterEntryPoints.Type {
  let table = unsafe Host.table.filter_table.unsafelyUnwrapped(config)
  return unsafe UnsafeRawPointer(table.unsafelyUnwrapped).load(as: TaggedTable.self).filter
}

extension FilterTable {
  // SAFETY, for every closure below: the host passes what the table's contract says, never NULL.
  private static func makeTable(_ filter: any FilterEntryPoints.Type) -> fl_filter {
    var table = fl_filter()
    table.abi_major = FL_ABI_MAJOR
    table.abi_minor = FL_ABI_MINOR
    table.size = MemoryLayout<fl_filter>.size
    table.flags = filter._mayReplay ? UInt32(FL_MAY_REPLAY) : 0
    table.state_size = filter._stateSize
    table.state_alignment = filter._stateAlignment
    addLoading(to: &table, of: filter)
    addRequestCallbacks(to: &table, of: filter)
    addResponseCallbacks(to: &table, of: filter)
    addEventCallbacks(to: &table, of: filter)
    return table
  }

  private static func addLoading(to table: inout fl_filter, of type: any FilterEntryPoints.Type) {
    unsafe table.load = { config, node in
      let config = unsafe config.unsafelyUnwrapped
      let memory = ConfigMemory()
      return unsafe filter(loading: config)._load(
        ConfigNode(config, node), ConfigLoader(config, memory), memory)
    }
    unsafe table.unload = { unsafe ConfigHeader.free($0.unsafelyUnwrapped) }
    if type._hasRouteConfig {
      unsafe table.load_route = { config, node in
        let config = unsafe config.unsafelyUnwrapped
        let memory = ConfigMemory()
        return unsafe filter(loading: config)._loadRoute(
          ConfigNode(config, node), ConfigLoader(config, memory), memory)
      }
      unsafe table.unload_route = { unsafe ConfigHeader.free($0.unsafelyUnwrapped) }
    }
    if type._hasWorker {
      unsafe table.worker_new = { config, worker in
        unsafe filter(of: config)._workerNew(
          config.unsafelyUnwrapped, worker.unsafelyUnwrapped)
      }
      unsafe table.worker_free = { box in
        unsafe filter(ofWorker: box)._workerFree(box.unsafelyUnwrapped)
      }
      unsafe table.on_worker_timer = { box, tag in
        unsafe filter(ofWorker: box)._workerTimer(box.unsafelyUnwrapped, tag)
      }
    }
    // A type without stored properties has nothing to prepare.
    if type._stateSize > 0 {
      unsafe table.stream_new = { state, config, _ in
        unsafe filter(of: config)._streamNew(
          state.unsafelyUnwrapped, config.unsafelyUnwrapped)
      }
    }
  }

  private static func addRequestCallbacks(
    to table: inout fl_filter, of type: any FilterEntryPoints.Type
  ) {
    if type._hasRequestHead {
      unsafe table.on_request_head = { state, config, stream, endsStream in
        unsafe filter(of: config)._onRequestHead(
          state.unsafelyUnwrapped, config.unsafelyUnwrapped, stream.unsafelyUnwrapped, endsStream)
      }
    }
    if type._hasRequestBody {
      unsafe table.on_request_body = { state, config, stream, bytes, endsStream in
        unsafe filter(of: config)._onRequestBody(
          state.unsafelyUnwrapped, config.unsafelyUnwrapped, stream.unsafelyUnwrapped, bytes,
          endsStream)
      }
    }
    if type._hasRequestTrailers {
      unsafe table.on_request_trailers = { state, config, stream in
        unsafe filter(of: config)._onRequestTrailers(
          state.unsafelyUnwrapped, config.unsafelyUnwrapped, stream.unsafelyUnwrapped)
      }
    }
  }

  private static func addResponseCallbacks(
    to table: inout fl_filter, of type: any FilterEntryPoints.Type
  ) {
    if type._hasResponseHead {
      unsafe table.on_response_head = { state, config, stream, endsStream in
        unsafe filter(of: config)._onResponseHead(
          state.unsafelyUnwrapped, config.unsafelyUnwrapped, stream.unsafelyUnwrapped, endsStream)
      }
    }
    if type._hasResponseBody {
      unsafe table.on_response_body = { state, config, stream, bytes, endsStream in
        unsafe filter(of: config)._onResponseBody(
          state.unsafelyUnwrapped, config.unsafelyUnwrapped, stream.unsafelyUnwrapped, bytes,
          endsStream)
      }
    }
    if type._hasResponseTrailers {
      unsafe table.on_response_trailers = { state, config, stream in
        unsafe filter(of: config)._onResponseTrailers(
          state.unsafelyUnwrapped, config.unsafelyUnwrapped, stream.unsafelyUnwrapped)
      }
    }
  }

  private static func addEventCallbacks(
    to table: inout fl_filter, of type: any FilterEntryPoints.Type
  ) {
    if type._hasTimer {
      unsafe table.on_timer = { state, config, stream, tag in
        unsafe filter(of: config)._onTimer(
          state.unsafelyUnwrapped, config.unsafelyUnwrapped, stream.unsafelyUnwrapped, tag)
      }
    }
    if type._hasCall {
      unsafe table.on_call = { state, config, stream, ticket, result in
        unsafe filter(of: config)._onCall(
          state.unsafelyUnwrapped, config.unsafelyUnwrapped, stream.unsafelyUnwrapped, ticket,
          result.unsafelyUnwrapped)
      }
    }
    if type._hasLog {
      unsafe table.on_log = { state, config, stream in
        unsafe filter(of: config)._onLog(
          state.unsafelyUnwrapped, config.unsafelyUnwrapped, stream.unsafelyUnwrapped)
      }
    }
    if type._hasEnd {
      unsafe table.on_end = { state, config, stream in
        unsafe filter(of: config)._onEnd(
          state.unsafelyUnwrapped, config.unsafelyUnwrapped, stream.unsafelyUnwrapped)
      }
    }
  }
}
