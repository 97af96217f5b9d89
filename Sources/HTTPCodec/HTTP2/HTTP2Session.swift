import CNghttp2
import Engine
import HTTPModel

/// The error codes of RFC 9113 §7 that we send or look for.
package enum HTTP2Code {
  package static let noError: UInt32 = 0
  package static let protocolError: UInt32 = 1
  package static let internalError: UInt32 = 2
  package static let flowControlError: UInt32 = 3
  package static let streamClosed: UInt32 = 5
  package static let refusedStream: UInt32 = 7
  package static let cancel: UInt32 = 8
  package static let connectError: UInt32 = 10
  package static let enhanceYourCalm: UInt32 = 11
}

/// What we tell a peer at the beginning, and how patient we are with it.
package struct HTTP2Options: BitwiseCopyable {
  package enum Role: UInt8, BitwiseCopyable {
    case server
    case client
  }

  package var role = Role.server
  // What a peer assumes that has been told nothing (RFC 9113 §6.5.2, §6.9.2), and of streams what it
  // recommends at least: an owner that is configured sets its own.
  package var maxConcurrentStreams: UInt32 = 100
  package var streamWindow: UInt32 = 65_535
  package var connectionWindow: UInt32 = 65_535
  package var headerTableSize: UInt32 = 4096
  /// Extended CONNECT is on offer (RFC 8441).
  package var allowsConnect = false
  /// A message that is none resets its stream instead of ending the connection.
  package var staysOpenAfterError = false
  package var limits = HTTP2Budget.Limits()

  package init() {}
}

/// When a peer is asked whether it is there (`connection_keepalive`). Milliseconds; 0 is never.
package struct HTTP2Keepalive: BitwiseCopyable {
  package var interval: UInt64 = 0
  package var timeout: UInt64 = 0
  /// Per cent of the interval that is added at random.
  package var jitter: UInt64 = 0

  package init() {}
}

/// One HTTP/2 connection's protocol state, on either side: told bytes, it gives events, and it says
/// which bytes to send. It knows no socket and no clock.
///
/// Flow-control windows open only as the owner says so (`consume`), so that what it has not passed on
/// is never more than the windows it gave. Operations take a handle: events may reach the same
/// session again, and close it, but `send` and `receive` are not called from within one.
@safe
package struct HTTP2Session: ~Copyable {
  // SAFETY: a session of nghttp2 from `open` to `close`; this file and `HTTP2Callbacks` alone use it.
  fileprivate var raw: OpaquePointer?
  /// nghttp2 is on the stack.
  fileprivate var isBusy = false
  /// Closed by an event while nghttp2 is on the stack.
  fileprivate var doomed: OpaquePointer?
  fileprivate(set) var owner: UnsafeMutableRawPointer?
  fileprivate(set) var events: Ref<HTTP2Events>?
  var budget = HTTP2Budget(.init())
  var ledger = HTTP2StreamLedger()
  fileprivate var scanner = HTTP2FrameScanner(behind: 0)
  package fileprivate(set) var options = HTTP2Options()
  /// The stream whose header section is being read.
  var section: UnsafeMutableRawPointer?
  /// Bytes of that section so far, unpacked.
  var sectionBytes = 0
  /// The stream that the peer has reset with the frame at hand.
  var resetByPeer: Int32 = 0
  /// Monotonic nanoseconds, as last told.
  var now: UInt64 = 0
  /// What ended the connection, where it was the peer's doing.
  package internal(set) var offence = HTTP2Budget.Offence.none
  /// Frames that a statistic wants to know of.
  package internal(set) var goAwaysSent: UInt32 = 0
  package internal(set) var messagingErrors: UInt32 = 0

  package init() {}

  package var isOpen: Bool { unsafe raw != nil }
}

/// How a session stands after it was told something.
package enum HTTP2Outcome {
  case goesOn
  /// It has nothing more to read or to send: the connection can be closed.
  case over
}

extension Ref where Value == HTTP2Session {
  // MARK: Opening and closing

  /// Begins; the settings leave with the first `send`. False when there is no memory.
  package func open(
    _ options: HTTP2Options, memory: Ref<HTTP2Memory>, events: Ref<HTTP2Events>,
    owner: UnsafeMutableRawPointer
  ) -> Bool {
    value = HTTP2Session()
    value.options = options
    value.budget = HTTP2Budget(options.limits)
    // What a client says first is no frame (§3.4).
    value.scanner = HTTP2FrameScanner(behind: options.role == .server ? 24 : 0)
    value.events = events
    unsafe value.owner = owner
    var table = unsafe memory.table
    var session: OpaquePointer?
    let callbacks = unsafe HTTP2Callbacks.shared.callbacks
    guard let settings = unsafe HTTP2Callbacks.makeOptions(options) else { return false }
    defer { unsafe nghttp2_option_del(settings) }
    let status =
      unsafe options.role == .server
      ? nghttp2_session_server_new3(&session, callbacks, raw, settings, &table)
      : nghttp2_session_client_new3(&session, callbacks, raw, settings, &table)
    guard status == 0, let session = unsafe session else { return false }
    unsafe value.raw = session
    guard unsafe submitSettings(session) else {
      close()
      return false
    }
    return true
  }

  private func submitSettings(_ session: OpaquePointer) -> Bool {
    let options = value.options
    let isServer = options.role == .server
    let entries: [(nghttp2_settings_id, UInt32)] = [
      (NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, options.headerTableSize),
      isServer
        ? (NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, options.allowsConnect ? 1 : 0)
        : (NGHTTP2_SETTINGS_ENABLE_PUSH, 0),
      (NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, options.maxConcurrentStreams),
      (NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options.streamWindow),
    ]
    let table = entries.map {
      nghttp2_settings_entry(settings_id: Int32($0.0.rawValue), value: $0.1)
    }
    let submitted = unsafe table.withUnsafeBufferPointer {
      unsafe nghttp2_submit_settings(session, 0, $0.baseAddress, $0.count)
    }
    let widened = unsafe nghttp2_session_set_local_window_size(
      session, 0, 0, Int32(clamping: options.connectionWindow))
    return submitted == 0 && widened == 0
  }

  /// Gives everything back. Streams that were open are not reported as closed.
  package func close() {
    guard let session = unsafe value.raw else { return }
    unsafe value.raw = nil
    if value.isBusy {
      unsafe value.doomed = session
    } else {
      unsafe nghttp2_session_del(session)
    }
  }

  /// A call into nghttp2 is over: what an event has closed meanwhile can be freed.
  private func leave() {
    value.isBusy = false
    guard let session = unsafe value.doomed else { return }
    unsafe value.doomed = nil
    unsafe nghttp2_session_del(session)
  }

  // MARK: Bytes

  /// The peer sent these bytes.
  package func receive(_ bytes: Bytes, at now: UInt64) -> HTTP2Outcome {
    value.now = now
    var position = 0
    var fed = 0
    while let head = value.scanner.next(bytes, at: &position) {
      // nghttp2 gets heads in one piece: it counts each piece of CONTINUATION's as a frame. And
      // whether its stream is open is known when the frames before it have been dealt with.
      let start = max(position - 9, fed)
      guard case .goesOn = feed(bytes[fed, start]), look(at: head) else { return .over }
      let scanner = value.scanner
      guard case .goesOn = scanner.withHeadBytes({ feed($0) }) else { return .over }
      fed = position
    }
    let partial = min(value.scanner.partialBytes, bytes.count - fed)
    guard case .goesOn = feed(bytes[fed, bytes.count - partial]) else { return .over }
    guard let session = unsafe value.raw else { return .over }
    let offence = unsafe value.budget.waiting(nghttp2_session_get_outbound_queue_size(session))
    guard offence != .none else { return .goesOn }
    commit(offence)
    return .over
  }

  /// False when the frame is one too many, or on a stream that has ended.
  private func look(at head: HTTP2FrameScanner.Head) -> Bool {
    guard let session = unsafe value.raw else { return false }
    let offence = value.budget.received(
      type: head.type, flags: head.flags, length: head.length, at: value.now)
    guard offence == .none else {
      commit(offence)
      return false
    }
    guard head.type == 0, value.options.role == .server else { return true }
    let isOpen = unsafe nghttp2_session_find_stream(session, head.stream) != nil
    guard value.ledger.data(head.stream, isOpen: isOpen) == .pass else {
      commit(.streamState, HTTP2Code.streamClosed)
      return false
    }
    return true
  }

  private func feed(_ bytes: Bytes) -> HTTP2Outcome {
    guard let session = unsafe value.raw else { return .over }
    guard !bytes.isEmpty else { return .goesOn }
    value.isBusy = true
    let used = unsafe nghttp2_session_mem_recv(session, bytes.base, bytes.count)
    leave()
    guard used == bytes.count else {
      // What nghttp2 cannot go on from: an offence that `offence` names, a preface that is none, more
      // acknowledgements than the peer lets us send, or no memory.
      if used == Int(NGHTTP2_ERR_FLOODED.rawValue), value.offence == .none {
        value.offence = .controlFrames
      }
      if value.offence == .none { terminate(HTTP2Code.protocolError) }
      return .over
    }
    return value.offence == .none ? .goesOn : .over
  }

  /// Sends what there is to send, as far as the connection takes it.
  package func send() -> HTTP2Outcome {
    guard let session = unsafe value.raw else { return .over }
    value.isBusy = true
    let status = unsafe nghttp2_session_send(session)
    leave()
    guard status == 0, unsafe value.raw != nil else { return .over }
    let isAlive =
      unsafe nghttp2_session_want_read(session) != 0 || nghttp2_session_want_write(session) != 0
    return isAlive ? .goesOn : .over
  }

  /// There is something to send.
  package var wantsToSend: Bool {
    guard let session = unsafe value.raw else { return false }
    return unsafe nghttp2_session_want_write(session) != 0
  }

  // MARK: Flow control

  /// These bytes of a stream have been passed on: the peer may send as many more.
  package func consume(_ stream: Int32, _ bytes: Int) {
    guard let session = unsafe value.raw, bytes > 0 else { return }
    _ = unsafe nghttp2_session_consume(session, stream, bytes)
  }

  // MARK: Messages

  /// Submits a head that more follows, or that ends the stream. False when it cannot be sent.
  /// - Parameter body: the stream's context, which is asked for its body; nil when there is none.
  package func submitResponse(
    _ stream: Int32, _ fields: borrowing HTTP2FieldList, body: UnsafeMutableRawPointer?
  ) -> Bool {
    guard let session = unsafe value.raw else { return false }
    guard let body = unsafe body else {
      return unsafe nghttp2_submit_response(session, stream, fields.base, fields.count, nil) == 0
    }
    var provider = unsafe HTTP2Callbacks.provider(body)
    return unsafe nghttp2_submit_response(session, stream, fields.base, fields.count, &provider)
      == 0
  }

  /// Submits an interim response.
  package func submitInterim(_ stream: Int32, _ fields: borrowing HTTP2FieldList) -> Bool {
    guard let session = unsafe value.raw else { return false }
    return unsafe nghttp2_submit_headers(
      session, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream, nil, fields.base, fields.count, nil) == 0
  }

  /// Submits a request; its stream's id, or nil when the connection has no more of them.
  /// - Parameter hasBody: the context is asked for a body.
  package func submitRequest(
    _ fields: borrowing HTTP2FieldList, stream: UnsafeMutableRawPointer, hasBody: Bool
  ) -> Int32? {
    guard let session = unsafe value.raw else { return nil }
    let id: Int32
    if hasBody {
      var provider = unsafe HTTP2Callbacks.provider(stream)
      id = unsafe nghttp2_submit_request(
        session, nil, fields.base, fields.count, &provider, stream)
    } else {
      id = unsafe nghttp2_submit_request(session, nil, fields.base, fields.count, nil, stream)
    }
    guard id > 0 else { return nil }
    value.budget.openedStream()
    return id
  }

  /// Submits trailers, which end the stream; called from within `available`.
  package func submitTrailers(_ stream: Int32, _ fields: borrowing HTTP2FieldList) -> Bool {
    guard let session = unsafe value.raw else { return false }
    return unsafe nghttp2_submit_trailer(session, stream, fields.base, fields.count) == 0
  }

  /// A stream that had nothing to send has something now.
  package func resumeBody(_ stream: Int32) {
    guard let session = unsafe value.raw else { return }
    _ = unsafe nghttp2_session_resume_data(session, stream)
  }

  /// Ends a stream before its time.
  package func reset(_ stream: Int32, _ code: UInt32) {
    guard let session = unsafe value.raw else { return }
    _ = unsafe nghttp2_submit_rst_stream(
      session, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream, code)
  }

  /// Tells the session how a stream of its peer ended, for the budget of resets.
  /// - Parameter isPremature: the peer reset it soon after it had opened it, before its answer.
  package func countEnd(isPremature: Bool) {
    let offence = value.budget.streamEnded(isPremature: isPremature)
    if offence != .none, value.offence == .none { commit(offence) }
  }

  // MARK: The connection

  package func ping() {
    guard let session = unsafe value.raw else { return }
    _ = unsafe nghttp2_submit_ping(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), nil)
  }

  /// Says that the end is near, so that requests which are on their way are still dealt with
  /// (RFC 9113 §6.8).
  package func announceEnd() {
    guard let session = unsafe value.raw else { return }
    _ = unsafe nghttp2_submit_shutdown_notice(session)
  }

  /// Refuses streams beyond those that the peer has opened, and ends when the last of them does.
  package func end() {
    guard let session = unsafe value.raw else { return }
    let last = unsafe nghttp2_session_get_last_proc_stream_id(session)
    _ = unsafe nghttp2_submit_goaway(
      session, UInt8(NGHTTP2_FLAG_NONE.rawValue), last, HTTP2Code.noError, nil, 0)
  }

  /// Ends everything with the next `send`.
  package func terminate(_ code: UInt32) {
    guard let session = unsafe value.raw else { return }
    _ = unsafe nghttp2_session_terminate_session(session, code)
  }

  /// The peer has gone too far: the connection ends with the fitting code.
  func commit(_ offence: HTTP2Budget.Offence, _ code: UInt32 = HTTP2Code.enhanceYourCalm) {
    value.offence = offence
    terminate(code)
  }

  /// Streams that the peer lets us have at once.
  package var peerStreamLimit: UInt32 {
    guard let session = unsafe value.raw else { return 0 }
    return unsafe nghttp2_session_get_remote_settings(
      session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
  }

  /// The peer takes extended CONNECT.
  package var peerAllowsConnect: Bool {
    guard let session = unsafe value.raw else { return false }
    return unsafe nghttp2_session_get_remote_settings(
      session, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1
  }

  /// A request could be submitted: there are ids left, and nobody is going away.
  package var takesRequests: Bool {
    guard let session = unsafe value.raw else { return false }
    return unsafe nghttp2_session_check_request_allowed(session) != 0
  }
}
