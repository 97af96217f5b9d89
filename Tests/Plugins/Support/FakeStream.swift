import CFilterABI
import FilterSDK

/// A reply that a filter made.
struct Reply: Equatable {
  var status: UInt32
  var body: String
  var details: String
  var fields: [String: String] = [:]
  var grpcStatus: Int32 = -1
}

/// What the filter keeps on a downstream connection.
final class FakeConnection {
  private let cell = UnsafeMutablePointer<UInt64>.allocate(capacity: 1)
  private var isSet = false

  func number(_ first: UInt64) -> UnsafeMutablePointer<UInt64> {
    if !isSet { cell.initialize(to: first) }
    isSet = true
    return cell
  }

  deinit { cell.deallocate() }
}

/// One stream of the fake host, and one filter on it: tests play the proxy around it, choose the
/// time and the chances, and look at what the filter asked for.
final class FakeStream {
  let rig: FilterRig

  // What the filter finds.
  var now: UInt64 = 1_000_000_000
  var wallClock: UInt64 = 1_700_000_000_000_000_000
  /// Taken one after the other; then 0 for ever.
  var randoms: [UInt64] = []
  var fields: [UInt32: [(name: String, value: String)]] = [:]
  var texts: [UInt32: String] = [:]
  var numbers: [UInt32: UInt64] = [:]
  var metadata: [String: String] = [:]
  var timeouts = fl_timeouts()
  var retryPolicy: FakeRetryPolicy?
  var clusters: [String: ClusterCounts] = [:]
  var attempt = fl_attempt()
  var admitsRetries = true
  var connection: FakeConnection?
  var peer = FL_PEER_PLAIN
  var peerNames: [UInt32: [String]] = [:]

  // What the filter did.
  private(set) var reply: Reply?
  private(set) var resetDetails: String?
  private(set) var flags: [UInt32] = []
  private(set) var clusterCounts: [UInt32: UInt64] = [:]
  /// Counters of the cluster whose names the filter made.
  private(set) var named: [String: UInt64] = [:]
  private var replacement: [UInt8]?
  private var appended: [UInt8]?
  private(set) var requestResumptions = 0
  private(set) var responseResumptions = 0
  private(set) var replayDelay: UInt64?
  private(set) var failures: [UInt32] = []
  private(set) var retainedLimit: UInt64?
  private(set) var avoidedAttempts: UInt32?
  private(set) var bufferLimit: UInt64?
  private(set) var isMarkedHealthCheck = false
  private(set) var timers: [(ticket: UInt64, due: UInt64, tag: UInt64)] = []
  private var lastTicket: UInt64 = 0
  let lender = Lender()
  private let timeoutsCell = UnsafeMutablePointer<fl_timeouts>.allocate(capacity: 1)

  struct ClusterCounts {
    var total: UInt32
    var healthy: UInt32
    var degraded: UInt32 = 0
  }

  private let state: UnsafeMutableRawPointer
  private var hasEnded = false
  private(set) var hasLeft = false
  /// The table, until the filter has left: then the host calls it no more.
  private var live: fl_filter? { hasLeft ? nil : rig.table.pointee }

  init(_ rig: FilterRig) {
    self.rig = rig
    state = UnsafeMutableRawPointer.allocate(
      byteCount: max(1, rig.table.pointee.state_size), alignment: 16)
    attempt.number = 1
    attempt.body_retained = true
    numbers[FL_BUFFER_LIMIT.rawValue] = 1 << 20
    rig.table.pointee.stream_new?(state, rig.config, pointer)
  }

  deinit {
    end()
    state.deallocate()
    timeoutsCell.deallocate()
  }

  var pointer: OpaquePointer { OpaquePointer(Unmanaged.passUnretained(self).toOpaque()) }

  static func at(_ pointer: OpaquePointer?) -> FakeStream {
    Unmanaged<FakeStream>.fromOpaque(UnsafeRawPointer(pointer!)).takeUnretainedValue()
  }
}

// MARK: the proxy's part

extension FakeStream {
  func requestHead(
    _ fields: [(String, String)] = [], path: String = "/", end: Bool = true
  ) -> Verdict {
    self.fields[FL_REQUEST_HEAD.rawValue] =
      [(":method", "GET"), (":path", path), (":authority", "test")] + fields
    return verdict(live?.on_request_head?(state, rig.config, pointer, end))
  }

  func requestBody(_ text: String, end: Bool) -> Verdict { requestBody(Array(text.utf8), end: end) }

  func requestBody(_ bytes: [UInt8], end: Bool) -> Verdict {
    numbers[FL_REQUEST_BODY_BYTES.rawValue, default: 0] += UInt64(bytes.count)
    return verdict(
      live?.on_request_body?(state, rig.config, pointer, lender.lend(bytes), end))
  }

  func requestTrailers() -> Verdict {
    verdict(live?.on_request_trailers?(state, rig.config, pointer))
  }

  func responseHead(_ status: Int, _ fields: [(String, String)] = [], end: Bool = true) -> Verdict {
    self.fields[FL_RESPONSE_HEAD.rawValue] = [(":status", "\(status)")] + fields
    numbers[FL_RESPONSE_CODE.rawValue] = UInt64(status)
    return verdict(live?.on_response_head?(state, rig.config, pointer, end))
  }

  func responseBody(_ text: String, end: Bool) -> Verdict {
    responseBody(Array(text.utf8), end: end)
  }

  func responseBody(_ bytes: [UInt8], end: Bool) -> Verdict {
    numbers[FL_RESPONSE_BODY_BYTES.rawValue, default: 0] += UInt64(bytes.count)
    return verdict(
      live?.on_response_body?(state, rig.config, pointer, lender.lend(bytes), end))
  }

  func responseTrailers(_ fields: [(String, String)]) -> Verdict {
    self.fields[FL_RESPONSE_TRAILERS.rawValue] = fields
    return verdict(live?.on_response_trailers?(state, rig.config, pointer))
  }

  /// What the filter put in the last piece's place.
  func takeReplacement() -> [UInt8]? {
    defer { replacement = nil }
    return replacement
  }

  /// What it put behind the body.
  func takeAppended() -> [UInt8]? {
    defer { appended = nil }
    return appended
  }

  /// Time passes, and timers run out in order.
  func advance(milliseconds: UInt64) {
    let end = now + milliseconds * 1_000_000
    while let next = timers.filter({ $0.due <= end }).min(by: { $0.due < $1.due }) {
      timers.removeAll { $0.ticket == next.ticket }
      now = max(now, next.due)
      live?.on_timer?(state, rig.config, pointer, next.tag)
    }
    now = end
  }

  func end() {
    guard !hasEnded else { return }
    hasEnded = true
    timers = []
    live?.on_end?(state, rig.config, pointer)
  }

  subscript(part: fl_part, name: String) -> String? {
    fields[part.rawValue]?.first { $0.name == name }?.value
  }

  func request(_ name: String) -> String? { self[FL_REQUEST_HEAD, name] }
  func response(_ name: String) -> String? { self[FL_RESPONSE_HEAD, name] }
  func count(_ counter: ClusterCounter) -> UInt64 { clusterCounts[counter.rawValue] ?? 0 }
  func has(_ flag: ResponseFlag) -> Bool { flags.contains(flag.rawValue) }

  /// A callback that the filter lacks lets traffic pass.
  private func verdict(_ raw: fl_verdict?) -> Verdict {
    raw.map { Verdict(rawValue: $0.rawValue)! } ?? .continue
  }
}

// MARK: the host's part

extension FakeStream {
  func number(_ which: fl_number) -> UInt64 {
    switch which {
    case FL_MONOTONIC_NS: now
    case FL_WALL_CLOCK_NS: wallClock
    case FL_RANDOM: randoms.isEmpty ? 0 : randoms.removeFirst()
    default: numbers[which.rawValue] ?? 0
    }
  }

  func startTimer(_ milliseconds: UInt64, _ tag: UInt64) -> UInt64 {
    lastTicket += 1
    timers.append((lastTicket, now + milliseconds * 1_000_000, tag))
    return lastTicket
  }

  func cancelTimer(_ ticket: UInt64) { timers.removeAll { $0.ticket == ticket } }

  func record(_ reply: fl_reply) {
    var fields: [String: String] = [:]
    for index in 0..<reply.field_count {
      fields[reply.fields[index].name.string] = reply.fields[index].value.string
    }
    self.reply = Reply(
      status: reply.status, body: reply.body.string, details: reply.details.string, fields: fields,
      grpcStatus: reply.grpc_status)
  }

  func record(reset details: String) { resetDetails = details }
  func record(_ flag: fl_flag) { flags.append(flag.rawValue) }
  func record(_ counter: fl_cluster_stat, _ amount: UInt64) {
    clusterCounts[counter.rawValue, default: 0] += amount
  }
  func record(_ amount: UInt64, named name: String) { named[name, default: 0] += amount }
  func record(replacement bytes: fl_bytes) { replacement = bytes.array }
  func record(appended bytes: fl_bytes) { appended = bytes.array }
  func record(replayAfter milliseconds: UInt64) { replayDelay = milliseconds }
  func record(_ failure: fl_failure) { failures.append(failure.rawValue) }
  func record(retain limit: UInt64) { retainedLimit = limit }
  func record(avoid attempts: UInt32) { avoidedAttempts = attempts }
  func record(bufferLimit limit: UInt64) { bufferLimit = limit }
  func recordLeaving() {
    hasLeft = true
    timers = []
  }
  func markHealthCheck() { isMarkedHealthCheck = true }
  func resumeRequest() { requestResumptions += 1 }
  func resumeResponse() { responseResumptions += 1 }

  func currentTimeouts() -> UnsafePointer<fl_timeouts> {
    timeoutsCell.initialize(to: timeouts)
    return UnsafePointer(timeoutsCell)
  }

  func set(_ part: fl_part, _ name: String, _ value: String) {
    let place = fields[part.rawValue]?.firstIndex { $0.name == name }
    fields[part.rawValue]?.removeAll { $0.name == name }
    let count = fields[part.rawValue, default: []].count
    fields[part.rawValue, default: []].insert((name, value), at: min(place ?? count, count))
  }

  func add(_ part: fl_part, _ name: String, _ value: String) {
    fields[part.rawValue, default: []].append((name, value))
  }

  func remove(_ part: fl_part, _ name: String) {
    fields[part.rawValue]?.removeAll { $0.name == name }
  }

  func matches(_ part: fl_part, _ matchers: Compiled) -> Bool {
    func holds(_ matcher: Document) -> Bool {
      let value = self[part, matcher["name"]!.text!]
      guard let exact = matcher["string_match"]?["exact"]?.text else { return value != nil }
      return value == exact
    }
    return matchers.matchesAny
      ? matchers.items.contains(where: holds) : matchers.items.allSatisfy(holds)
  }

  func apply(_ part: fl_part, _ mutations: Compiled) {
    for mutation in mutations.items {
      if let name = mutation["remove"]?.text {
        remove(part, name)
      } else {
        let header = (mutation["append"] ?? mutation)["header"]!
        add(part, header["key"]!.text!, header["value"]!.text!)
      }
    }
  }
}
