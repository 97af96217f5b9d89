// What every filter's entry points share: its state's layout, its configuration, its worker.

extension HTTPFilter {
  @inlinable public static var _stateSize: Int { MemoryLayout<Self>.size }
  @inlinable public static var _stateAlignment: Int { MemoryLayout<Self>.alignment }

  /// Loads a configuration and puts it behind a header that names this filter.
  public static func _load(
    _ node: ConfigNode, _ loader: borrowing ConfigLoader, _ memory: ConfigMemory
  ) -> UnsafeMutableRawPointer? {
    guard let config = load(node, loader) else { return nil }
    return unsafe ConfigHeader.box(config, of: Self.self, in: memory)
  }

  public static func _loadRoute(
    _ node: ConfigNode, _ loader: borrowing ConfigLoader, _ memory: ConfigMemory
  ) -> UnsafeMutableRawPointer? { nil }

  @inlinable public static func _streamNew(
    _ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer
  ) {
    // SAFETY: the host lends memory of this type's size and alignment, and a `Config` of ours.
    unsafe state.initializeMemory(
      as: Self.self, to: Self(config: config.assumingMemoryBound(to: Config.self).pointee))
  }

  public static func _workerNew(_ config: UnsafeRawPointer, _ worker: OpaquePointer)
    -> UnsafeMutableRawPointer?
  { nil }
  public static func _workerFree(_ box: UnsafeMutableRawPointer) {}
  public static func _workerTimer(_ box: UnsafeMutableRawPointer, _ tag: UInt64) {}
}

extension ReplayingFilter {
  @inlinable public static var _mayReplay: Bool { true }
}

extension RouteConfigurable {
  @inlinable public static var _hasRouteConfig: Bool { true }

  public static func _loadRoute(
    _ node: ConfigNode, _ loader: borrowing ConfigLoader, _ memory: ConfigMemory
  ) -> UnsafeMutableRawPointer? {
    guard let config = loadRoute(node, loader) else { return nil }
    return unsafe ConfigHeader.box(config, of: Self.self, in: memory)
  }
}

extension WorkerFilter {
  @inlinable public static var _hasWorker: Bool { true }

  public static func _workerNew(_ config: UnsafeRawPointer, _ worker: OpaquePointer)
    -> UnsafeMutableRawPointer?
  {
    // SAFETY: a `Config` of ours, and memory that `_workerFree` gives back.
    let state = unsafe startWorker(
      config: config.assumingMemoryBound(to: Config.self).pointee, WorkerContext(worker))
    let header = unsafe WorkerHeader(filter: Self.self, worker: worker, config: config)
    let box = UnsafeMutablePointer<WorkerBox<Self>>.allocate(capacity: 1)
    unsafe box.initialize(to: WorkerBox(header, state))
    return UnsafeMutableRawPointer(box)
  }

  public static func _workerFree(_ box: UnsafeMutableRawPointer) {
    let box = unsafe box.assumingMemoryBound(to: WorkerBox<Self>.self)
    unsafe box.deinitialize(count: 1)
    unsafe box.deallocate()
  }

  public static func _workerTimer(_ box: UnsafeMutableRawPointer, _ tag: UInt64) {
    let box = unsafe box.assumingMemoryBound(to: WorkerBox<Self>.self)
    let header = unsafe box.pointee.header
    unsafe onWorkerTimer(
      tag, &box.pointee.state, config: header.config.assumingMemoryBound(to: Config.self).pointee,
      WorkerContext(header.worker))
  }
}
