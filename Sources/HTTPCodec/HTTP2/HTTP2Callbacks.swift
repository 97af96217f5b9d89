import CNghttp2
import Engine
import HTTPModel

/// The functions that nghttp2 calls, shared by all sessions. Each finds its session, calls one event,
/// and returns a status: nothing throws or traps into C.
@safe
struct HTTP2Callbacks: @unchecked Sendable {
  // SAFETY, and why this is `Sendable`: filled once, before any session is made, and only read
  // afterwards. The ThreadSanitizer run of the end-to-end tests would see another use.
  let callbacks: OpaquePointer

  static let shared = HTTP2Callbacks()

  private init() {
    var callbacks: OpaquePointer?
    unsafe nghttp2_session_callbacks_new(&callbacks)
    guard let callbacks = unsafe callbacks else {
      preconditionFailure("memory at the start of the process")
    }
    unsafe self.callbacks = callbacks
    unsafe Self.setReceiving(callbacks)
    unsafe Self.setSending(callbacks)
  }

  /// How a session is to behave; nil when there is no memory.
  static func makeOptions(_ wanted: HTTP2Options) -> OpaquePointer? {
    var made: OpaquePointer?
    unsafe nghttp2_option_new(&made)
    guard let options = unsafe made else { return nil }
    unsafe nghttp2_option_set_max_outbound_ack(
      options, Int(wanted.limits.outboundControlFrames))
    unsafe nghttp2_option_set_max_deflate_dynamic_table_size(
      options, Int(wanted.headerTableSize))
    unsafe nghttp2_option_set_no_auto_window_update(options, 1)
    // Closed streams are ours to remember, in fixed memory.
    unsafe nghttp2_option_set_no_closed_streams(options, 1)
    // Resets are counted by `HTTP2Budget`, which tells busy clients from abusers.
    unsafe nghttp2_option_set_stream_reset_rate_limit(options, 1 << 40, 1 << 40)
    // Until the peer says otherwise, as many as RFC 9113 §6.5.2 assumes; we bound it ourselves.
    unsafe nghttp2_option_set_peer_max_concurrent_streams(options, UInt32(Int32.max))
    return unsafe options
  }

  /// How the body of a stream is asked for.
  static func provider(_ stream: UnsafeMutableRawPointer) -> nghttp2_data_provider {
    unsafe nghttp2_data_provider(
      source: nghttp2_data_source(ptr: stream),
      read_callback: { _, _, _, length, flags, source, user in
        guard let held = unsafe session(of: user), let flags = unsafe flags,
          let stream = unsafe source?.pointee.ptr
        else { return Int(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue) }
        return unsafe held.readBody(stream, length, flags)
      })
  }

  // MARK: Receiving

  private static func setReceiving(_ callbacks: OpaquePointer) {
    unsafe nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks) { raw, head, user in
      guard let held = unsafe session(of: user), let head = unsafe head else { return failure }
      return unsafe held.frameBegan(head.pointee, in: raw)
    }
    unsafe nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks) { raw, frame, user in
      guard let held = unsafe session(of: user), let frame = unsafe frame else { return failure }
      return unsafe held.sectionBegan(frame.pointee, in: raw)
    }
    unsafe nghttp2_session_callbacks_set_on_header_callback(callbacks) {
      _, _, name, nameLength, value, valueLength, _, user in
      guard let held = unsafe session(of: user), let name = unsafe name,
        let value = unsafe value
      else { return failure }
      return unsafe held.field(name, nameLength, value, valueLength)
    }
    unsafe nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks) {
      // A field that would be ignored unless somebody objects: we do.
      _, _, _, _, _, _, _, _ in streamFailure
    }
    unsafe nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks) { raw, frame, user in
      guard let held = unsafe session(of: user), let frame = unsafe frame else { return failure }
      return unsafe held.frameReceived(frame.pointee, in: raw)
    }
    unsafe nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks) {
      raw, _, id, data, length, user in
      guard let held = unsafe session(of: user), let data = unsafe data else { return failure }
      return unsafe held.data(id, data, length, in: raw)
    }
    unsafe nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks) {
      _, _, error, user in
      unsafe session(of: user)?.frameRefused(error) ?? failure
    }
    unsafe nghttp2_session_callbacks_set_on_stream_close_callback(callbacks) {
      raw, id, code, user in
      guard let held = unsafe session(of: user) else { return failure }
      return unsafe held.streamClosed(id, code, in: raw)
    }
  }

  // MARK: Sending

  private static func setSending(_ callbacks: OpaquePointer) {
    unsafe nghttp2_session_callbacks_set_send_callback(callbacks) { _, data, length, _, user in
      guard let held = unsafe session(of: user), let data = unsafe data else {
        return Int(failure)
      }
      return unsafe held.write(data, length) ? length : Int(NGHTTP2_ERR_WOULDBLOCK.rawValue)
    }
    unsafe nghttp2_session_callbacks_set_send_data_callback(callbacks) {
      _, _, head, length, source, user in
      guard let held = unsafe session(of: user), let head = unsafe head,
        let stream = unsafe source?.pointee.ptr
      else { return failure }
      switch unsafe held.writeBody(stream, head, length) {
      case .sent: return 0
      case .blocked: return NGHTTP2_ERR_WOULDBLOCK.rawValue
      case .gone: return streamFailure
      }
    }
    unsafe nghttp2_session_callbacks_set_on_frame_send_callback(callbacks) { raw, frame, user in
      guard let held = unsafe session(of: user), let frame = unsafe frame else { return failure }
      return unsafe held.frameSent(frame.pointee, in: raw)
    }
  }
}

/// The session; nil once an event has closed it, which ends what nghttp2 is about.
private func session(of user: UnsafeMutableRawPointer?) -> Ref<HTTP2Session>? {
  guard let user = unsafe user else { return nil }
  let session = unsafe Ref<HTTP2Session>(raw: user)
  return session.value.isOpen ? session : nil
}

/// The context that a stream was given.
private func context(of id: Int32, in session: OpaquePointer?) -> UnsafeMutableRawPointer? {
  unsafe nghttp2_session_get_stream_user_data(session, id)
}

/// Ends the session.
private var failure: Int32 { NGHTTP2_ERR_CALLBACK_FAILURE.rawValue }

/// Resets the stream of the frame at hand; the rest of the frame is still read.
private var streamFailure: Int32 { NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue }

/// What nghttp2 says, as events.
extension Ref where Value == HTTP2Session {
  private var events: HTTP2Events {
    guard let events = value.events else { preconditionFailure("an open session has an owner") }
    return events.value
  }

  private var owner: UnsafeMutableRawPointer {
    guard let owner = unsafe value.owner else {
      preconditionFailure("an open session has an owner")
    }
    return unsafe owner
  }

  fileprivate func frameBegan(_ head: nghttp2_frame_hd, in raw: OpaquePointer?) -> Int32 {
    guard head.type == UInt8(NGHTTP2_HEADERS.rawValue), value.options.role == .server else {
      return 0
    }
    let isOpen = unsafe nghttp2_session_find_stream(raw, head.stream_id) != nil
    let before = value.ledger.highest
    switch value.ledger.headers(head.stream_id, isOpen: isOpen) {
    case .pass:
      if value.ledger.highest != before { value.budget.openedStream() }
      return 0
    case .protocolError: return refuse(.streamState, HTTP2Code.protocolError)
    case .streamClosed: return refuse(.streamState, HTTP2Code.streamClosed)
    }
  }

  private func refuse(_ offence: HTTP2Budget.Offence, _ code: UInt32) -> Int32 {
    commit(offence, code)
    return NGHTTP2_ERR_CALLBACK_FAILURE.rawValue
  }

  fileprivate func sectionBegan(_ frame: nghttp2_frame, in raw: OpaquePointer?) -> Int32 {
    unsafe value.section = nil
    value.sectionBytes = 0
    let id = unsafe frame.hd.stream_id
    if unsafe frame.headers.cat == NGHTTP2_HCAT_REQUEST {
      guard let stream = unsafe events.opened(owner, id) else {
        return streamFailure
      }
      unsafe nghttp2_session_set_stream_user_data(raw, id, stream)
      unsafe value.section = stream
      return 0
    }
    guard let stream = unsafe context(of: id, in: raw) else { return 0 }
    unsafe value.section = stream
    unsafe events.sectionBegan(owner, stream)
    return 0
  }

  fileprivate func field(
    _ name: UnsafePointer<UInt8>, _ nameLength: Int, _ value: UnsafePointer<UInt8>,
    _ valueLength: Int
  ) -> Int32 {
    self.value.sectionBytes &+= nameLength &+ valueLength &+ 32
    guard self.value.sectionBytes <= Limits.headerSectionBytes else {
      return refuse(.headerBomb, HTTP2Code.enhanceYourCalm)
    }
    guard let stream = unsafe self.value.section else { return 0 }
    unsafe events.field(owner, stream, name, nameLength, value, valueLength)
    return 0
  }

  fileprivate func frameReceived(_ frame: nghttp2_frame, in raw: OpaquePointer?) -> Int32 {
    let id = unsafe frame.hd.stream_id
    let endsStream = unsafe frame.hd.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
    let isAck = unsafe frame.hd.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) != 0
    switch unsafe nghttp2_frame_type(UInt32(frame.hd.type)) {
    case NGHTTP2_HEADERS:
      guard let stream = unsafe value.section else { return 0 }
      unsafe value.section = nil
      unsafe events.sectionEnded(owner, stream, endsStream)
    case NGHTTP2_DATA where endsStream:
      if let stream = unsafe context(of: id, in: raw) {
        unsafe events.dataEnded(owner, stream)
      }
    case NGHTTP2_RST_STREAM: value.resetByPeer = id
    case NGHTTP2_SETTINGS where !isAck: unsafe events.settings(owner)
    case NGHTTP2_PING where isAck: unsafe events.pong(owner)
    case NGHTTP2_GOAWAY:
      unsafe events.goingAway(owner, frame.goaway.last_stream_id, frame.goaway.error_code)
    default: break
    }
    return 0
  }

  fileprivate func data(
    _ id: Int32, _ data: UnsafePointer<UInt8>, _ length: Int, in raw: OpaquePointer?
  ) -> Int32 {
    if let stream = unsafe context(of: id, in: raw) {
      unsafe events.data(owner, stream, data, length)
    } else {
      // Nobody wants it: it is passed on, in a way.
      consume(id, length)
    }
    return 0
  }

  /// nghttp2 has found a frame wrong, and will reset its stream or end the connection.
  fileprivate func frameRefused(_ error: Int32) -> Int32 {
    guard
      error == NGHTTP2_ERR_HTTP_HEADER.rawValue || error == NGHTTP2_ERR_HTTP_MESSAGING.rawValue
    else { return 0 }
    value.messagingErrors &+= 1
    if !value.options.staysOpenAfterError { commit(.messaging, HTTP2Code.protocolError) }
    return 0
  }

  fileprivate func streamClosed(_ id: Int32, _ code: UInt32, in raw: OpaquePointer?) -> Int32 {
    let byPeer = value.resetByPeer == id
    if byPeer { value.resetByPeer = 0 }
    guard let stream = unsafe context(of: id, in: raw) else { return 0 }
    if unsafe value.section == stream { unsafe value.section = nil }
    unsafe nghttp2_session_set_stream_user_data(raw, id, nil)
    unsafe events.closed(owner, stream, code, byPeer)
    return 0
  }

  // MARK: Sending

  fileprivate func readBody(
    _ stream: UnsafeMutableRawPointer, _ length: Int, _ flags: UnsafeMutablePointer<UInt32>
  ) -> Int {
    var end = HTTP2BodyEnd.nothing.rawValue
    let n = unsafe min(events.available(owner, stream, length, &end), length)
    switch HTTP2BodyEnd(rawValue: end) {
    case .stream: unsafe flags.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue
    case .body:
      unsafe flags.pointee |=
        NGHTTP2_DATA_FLAG_EOF.rawValue | NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue
    default:
      guard n > 0 else { return Int(NGHTTP2_ERR_DEFERRED.rawValue) }
    }
    unsafe flags.pointee |= NGHTTP2_DATA_FLAG_NO_COPY.rawValue
    return n
  }

  fileprivate func write(_ data: UnsafePointer<UInt8>, _ length: Int) -> Bool {
    unsafe events.write(owner, data, length)
  }

  fileprivate func writeBody(
    _ stream: UnsafeMutableRawPointer, _ head: UnsafePointer<UInt8>, _ length: Int
  ) -> HTTP2BodyWrite {
    unsafe HTTP2BodyWrite(rawValue: events.writeBody(owner, stream, head, length)) ?? .gone
  }

  fileprivate func frameSent(_ frame: nghttp2_frame, in raw: OpaquePointer?) -> Int32 {
    let id = unsafe frame.hd.stream_id
    let endsStream = unsafe frame.hd.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
    switch unsafe nghttp2_frame_type(UInt32(frame.hd.type)) {
    case NGHTTP2_DATA:
      value.budget.sentData()
      if endsStream { unsafe sentLast(id, in: raw) }
    case NGHTTP2_HEADERS where endsStream: unsafe sentLast(id, in: raw)
    case NGHTTP2_RST_STREAM:
      value.ledger.noteReset(id)
      return unsafe countReset(frame.rst_stream.error_code)
    case NGHTTP2_GOAWAY: value.goAwaysSent &+= 1
    default: break
    }
    return 0
  }

  private func sentLast(_ id: Int32, in raw: OpaquePointer?) {
    guard let stream = unsafe context(of: id, in: raw) else { return }
    unsafe events.sentLast(owner, stream)
  }

  /// Resets with these codes are answers to what the peer did.
  private func countReset(_ code: UInt32) -> Int32 {
    guard
      code == HTTP2Code.protocolError || code == HTTP2Code.flowControlError
        || code == HTTP2Code.streamClosed, value.offence == .none
    else { return 0 }
    let offence = value.budget.provokedReset(at: value.now)
    if offence != .none { commit(offence) }
    return 0
  }
}
