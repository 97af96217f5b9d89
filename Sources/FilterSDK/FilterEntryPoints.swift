public import CFilterABI

/// How the C table's functions, which know no type, reach a Swift filter: a witness table is found
/// beside the configuration, and each requirement here takes only pointers. All of it is provided;
/// filter authors need not look.
///
/// Every pair is a question, asked once while the table is made, and the callback itself. A filter
/// that does not conform to a callback's protocol answers no, and the C table says NULL.
public protocol FilterEntryPoints {
  static var _stateSize: Int { get }
  static var _stateAlignment: Int { get }
  static var _mayReplay: Bool { get }
  static var _hasRouteConfig: Bool { get }
  static var _hasWorker: Bool { get }

  static func _load(
    _ node: ConfigNode, _ loader: borrowing ConfigLoader, _ memory: ConfigMemory
  ) -> UnsafeMutableRawPointer?
  static func _loadRoute(
    _ node: ConfigNode, _ loader: borrowing ConfigLoader, _ memory: ConfigMemory
  ) -> UnsafeMutableRawPointer?
  static func _workerNew(_ config: UnsafeRawPointer, _ worker: OpaquePointer)
    -> UnsafeMutableRawPointer?
  static func _workerFree(_ box: UnsafeMutableRawPointer)
  static func _workerTimer(_ box: UnsafeMutableRawPointer, _ tag: UInt64)
  static func _streamNew(_ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer)

  static var _hasRequestHead: Bool { get }
  static func _onRequestHead(
    _ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer, _ stream: OpaquePointer,
    _ endsStream: Bool
  ) -> fl_verdict
  static var _hasRequestBody: Bool { get }
  static func _onRequestBody(
    _ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer, _ stream: OpaquePointer,
    _ bytes: fl_bytes, _ endsStream: Bool
  ) -> fl_verdict
  static var _hasRequestTrailers: Bool { get }
  static func _onRequestTrailers(
    _ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer, _ stream: OpaquePointer
  ) -> fl_verdict
  static var _hasResponseHead: Bool { get }
  static func _onResponseHead(
    _ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer, _ stream: OpaquePointer,
    _ endsStream: Bool
  ) -> fl_verdict
  static var _hasResponseBody: Bool { get }
  static func _onResponseBody(
    _ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer, _ stream: OpaquePointer,
    _ bytes: fl_bytes, _ endsStream: Bool
  ) -> fl_verdict
  static var _hasResponseTrailers: Bool { get }
  static func _onResponseTrailers(
    _ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer, _ stream: OpaquePointer
  ) -> fl_verdict
  static var _hasTimer: Bool { get }
  static func _onTimer(
    _ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer, _ stream: OpaquePointer,
    _ tag: UInt64
  )
  static var _hasCall: Bool { get }
  static func _onCall(
    _ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer, _ stream: OpaquePointer,
    _ ticket: fl_ticket, _ result: UnsafePointer<fl_call_result>
  )
  static var _hasLog: Bool { get }
  static func _onLog(
    _ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer, _ stream: OpaquePointer
  )
  static var _hasEnd: Bool { get }
  static func _onEnd(
    _ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer, _ stream: OpaquePointer
  )
}

// MARK: what a filter that lacks a callback answers

extension HTTPFilter {
  @inlinable public static var _mayReplay: Bool { false }
  @inlinable public static var _hasRouteConfig: Bool { false }
  @inlinable public static var _hasWorker: Bool { false }

  @inlinable public static var _hasRequestHead: Bool { false }
  @inlinable public static func _onRequestHead(
    _ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer, _ stream: OpaquePointer,
    _ endsStream: Bool
  ) -> fl_verdict { FL_CONTINUE }

  @inlinable public static var _hasRequestBody: Bool { false }
  @inlinable public static func _onRequestBody(
    _ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer, _ stream: OpaquePointer,
    _ bytes: fl_bytes, _ endsStream: Bool
  ) -> fl_verdict { FL_CONTINUE }

  @inlinable public static var _hasRequestTrailers: Bool { false }
  @inlinable public static func _onRequestTrailers(
    _ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer, _ stream: OpaquePointer
  ) -> fl_verdict { FL_CONTINUE }

  @inlinable public static var _hasResponseHead: Bool { false }
  @inlinable public static func _onResponseHead(
    _ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer, _ stream: OpaquePointer,
    _ endsStream: Bool
  ) -> fl_verdict { FL_CONTINUE }

  @inlinable public static var _hasResponseBody: Bool { false }
  @inlinable public static func _onResponseBody(
    _ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer, _ stream: OpaquePointer,
    _ bytes: fl_bytes, _ endsStream: Bool
  ) -> fl_verdict { FL_CONTINUE }

  @inlinable public static var _hasResponseTrailers: Bool { false }
  @inlinable public static func _onResponseTrailers(
    _ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer, _ stream: OpaquePointer
  ) -> fl_verdict { FL_CONTINUE }

  @inlinable public static var _hasTimer: Bool { false }
  @inlinable public static func _onTimer(
    _ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer, _ stream: OpaquePointer,
    _ tag: UInt64
  ) {}

  @inlinable public static var _hasCall: Bool { false }
  @inlinable public static func _onCall(
    _ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer, _ stream: OpaquePointer,
    _ ticket: fl_ticket, _ result: UnsafePointer<fl_call_result>
  ) {}

  @inlinable public static var _hasLog: Bool { false }
  @inlinable public static func _onLog(
    _ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer, _ stream: OpaquePointer
  ) {}

  /// A state that holds references is released even without `onEnd`.
  @inlinable public static var _hasEnd: Bool { !_isPOD(Self.self) }
  @inlinable public static func _onEnd(
    _ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer, _ stream: OpaquePointer
  ) {
    unsafe state.assumingMemoryBound(to: Self.self).deinitialize(count: 1)
  }
}

// MARK: the callbacks
//
// SAFETY, for all of them: `state` is memory of `_stateSize` bytes that `_streamNew` initialised,
// `config` is what `_load` returned for this filter, and both are used by one thread until `_onEnd`.

extension RequestHeadFilter {
  @inlinable public static var _hasRequestHead: Bool { true }

  @inlinable public static func _onRequestHead(
    _ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer, _ stream: OpaquePointer,
    _ endsStream: Bool
  ) -> fl_verdict {
    let verdict = unsafe state.assumingMemoryBound(to: Self.self).pointee.onRequestHead(
      RequestHeadView(stream, endsStream: endsStream),
      config: config.assumingMemoryBound(to: Config.self).pointee,
      StreamContext(stream))
    return fl_verdict(verdict.rawValue)
  }
}

extension RequestBodyFilter {
  @inlinable public static var _hasRequestBody: Bool { true }

  @inlinable public static func _onRequestBody(
    _ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer, _ stream: OpaquePointer,
    _ bytes: fl_bytes, _ endsStream: Bool
  ) -> fl_verdict {
    let verdict = unsafe state.assumingMemoryBound(to: Self.self).pointee.onRequestBody(
      BodyView(stream, bytes, endsStream: endsStream),
      config: config.assumingMemoryBound(to: Config.self).pointee,
      StreamContext(stream))
    return fl_verdict(verdict.rawValue)
  }
}

extension RequestTrailersFilter {
  @inlinable public static var _hasRequestTrailers: Bool { true }

  @inlinable public static func _onRequestTrailers(
    _ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer, _ stream: OpaquePointer
  ) -> fl_verdict {
    let verdict = unsafe state.assumingMemoryBound(to: Self.self).pointee.onRequestTrailers(
      TrailersView(stream, FL_REQUEST_TRAILERS),
      config: config.assumingMemoryBound(to: Config.self).pointee,
      StreamContext(stream))
    return fl_verdict(verdict.rawValue)
  }
}

extension ResponseHeadFilter {
  @inlinable public static var _hasResponseHead: Bool { true }

  @inlinable public static func _onResponseHead(
    _ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer, _ stream: OpaquePointer,
    _ endsStream: Bool
  ) -> fl_verdict {
    let verdict = unsafe state.assumingMemoryBound(to: Self.self).pointee.onResponseHead(
      ResponseHeadView(stream, endsStream: endsStream),
      config: config.assumingMemoryBound(to: Config.self).pointee,
      StreamContext(stream))
    return fl_verdict(verdict.rawValue)
  }
}

extension ResponseBodyFilter {
  @inlinable public static var _hasResponseBody: Bool { true }

  @inlinable public static func _onResponseBody(
    _ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer, _ stream: OpaquePointer,
    _ bytes: fl_bytes, _ endsStream: Bool
  ) -> fl_verdict {
    let verdict = unsafe state.assumingMemoryBound(to: Self.self).pointee.onResponseBody(
      BodyView(stream, bytes, endsStream: endsStream),
      config: config.assumingMemoryBound(to: Config.self).pointee,
      StreamContext(stream))
    return fl_verdict(verdict.rawValue)
  }
}

extension ResponseTrailersFilter {
  @inlinable public static var _hasResponseTrailers: Bool { true }

  @inlinable public static func _onResponseTrailers(
    _ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer, _ stream: OpaquePointer
  ) -> fl_verdict {
    let verdict = unsafe state.assumingMemoryBound(to: Self.self).pointee.onResponseTrailers(
      TrailersView(stream, FL_RESPONSE_TRAILERS),
      config: config.assumingMemoryBound(to: Config.self).pointee,
      StreamContext(stream))
    return fl_verdict(verdict.rawValue)
  }
}

extension TimerFilter {
  @inlinable public static var _hasTimer: Bool { true }

  @inlinable public static func _onTimer(
    _ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer, _ stream: OpaquePointer,
    _ tag: UInt64
  ) {
    unsafe state.assumingMemoryBound(to: Self.self).pointee.onTimer(
      tag, config: config.assumingMemoryBound(to: Config.self).pointee,
      StreamContext(stream))
  }
}

extension CallFilter {
  @inlinable public static var _hasCall: Bool { true }

  @inlinable public static func _onCall(
    _ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer, _ stream: OpaquePointer,
    _ ticket: fl_ticket, _ result: UnsafePointer<fl_call_result>
  ) {
    unsafe state.assumingMemoryBound(to: Self.self).pointee.onCall(
      Ticket(ticket), CallResult(result),
      config: config.assumingMemoryBound(to: Config.self).pointee,
      StreamContext(stream))
  }
}

extension LogFilter {
  @inlinable public static var _hasLog: Bool { true }

  @inlinable public static func _onLog(
    _ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer, _ stream: OpaquePointer
  ) {
    unsafe state.assumingMemoryBound(to: Self.self).pointee.onLog(
      config: config.assumingMemoryBound(to: Config.self).pointee,
      StreamContext(stream))
  }
}

extension EndFilter {
  @inlinable public static var _hasEnd: Bool { true }

  @inlinable public static func _onEnd(
    _ state: UnsafeMutableRawPointer, _ config: UnsafeRawPointer, _ stream: OpaquePointer
  ) {
    unsafe state.assumingMemoryBound(to: Self.self).pointee.onEnd(
      config: config.assumingMemoryBound(to: Config.self).pointee,
      StreamContext(stream))
    unsafe state.assumingMemoryBound(to: Self.self).deinitialize(count: 1)
  }
}
