import CFilterABI
import Glibc

/// Lends bytes to a filter and keeps them until it is released itself.
final class Lender {
  private var lent: [UnsafeMutableBufferPointer<UInt8>] = []

  func lend(_ text: String) -> fl_bytes { lend(Array(text.utf8)) }

  func lend(_ bytes: [UInt8]) -> fl_bytes {
    let copy = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: max(1, bytes.count))
    _ = copy.initialize(from: bytes)
    lent.append(copy)
    return fl_bytes(data: copy.baseAddress, count: bytes.count)
  }

  deinit { for buffer in lent { buffer.deallocate() } }
}

extension fl_bytes {
  var array: [UInt8] { Array(UnsafeBufferPointer(start: data, count: count)) }
  var string: String { String(decoding: array, as: UTF8.self) }
}

/// What `load_header_matchers` and `load_header_mutations` of the fake host return.
final class Compiled {
  let items: [Document]
  /// A retry policy's matchers ask for any, others for all.
  let matchesAny: Bool

  init(_ items: [Document], matchesAny: Bool = false) {
    self.items = items
    self.matchesAny = matchesAny
  }
}

/// What `load_field_names` of the fake host returns.
final class FakeNames {
  let names: [String]
  init(_ names: [String]) { self.names = names }
}

/// What `load_access_rules` of the fake host returns: a policy matches the path that is its name.
final class FakeRules {
  let names: [String]
  let lender = Lender()
  init(_ names: [String]) { self.names = names }

  static func at(_ pointer: UnsafeRawPointer?) -> FakeRules {
    Unmanaged<FakeRules>.fromOpaque(pointer!).takeUnretainedValue()
  }
}

/// Everything that any configuration defined, numbered for all tests at once. A host names equal
/// statistics once; here each has its number, and the name joins them.
///
/// `@unchecked`: tests run at the same time, and the lock guards both lists. It is pthread's, because
/// the thread sanitizer does not see two threads meet in the standard library's `Mutex`.
final class Definitions: @unchecked Sendable {
  static let shared = Definitions()
  private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private var ownStatistics: [String] = []
  private var ownRuntimeKeys: [(key: String, fallback: Double)] = []

  private init() { pthread_mutex_init(lock, nil) }

  private func locked<Result>(_ body: () -> Result) -> Result {
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    return body()
  }

  var statistics: [String] { locked { ownStatistics } }
  var runtimeKeys: [(key: String, fallback: Double)] { locked { ownRuntimeKeys } }

  func define(_ name: String) -> fl_stat {
    locked {
      ownStatistics.append(name)
      return fl_stat(ownStatistics.count - 1)
    }
  }

  func define(runtime key: String, _ fallback: Double) -> UInt32 {
    locked {
      ownRuntimeKeys.append((key, fallback))
      return UInt32(ownRuntimeKeys.count - 1)
    }
  }
}

/// The loading of one document.
final class FakeConfig {
  let table: UnsafePointer<fl_filter>
  private(set) var nodes: [Document] = []
  private(set) var errors: [String] = []
  private(set) var compiled: [Compiled] = []
  private var nameSets: [FakeNames] = []
  private var ruleSets: [FakeRules] = []
  private(set) var policies: [FakeRetryPolicy] = []
  let lender = Lender()

  init(_ table: UnsafePointer<fl_filter>) { self.table = table }

  var pointer: OpaquePointer { OpaquePointer(Unmanaged.passUnretained(self).toOpaque()) }

  static func at(_ pointer: OpaquePointer?) -> FakeConfig {
    Unmanaged<FakeConfig>.fromOpaque(UnsafeRawPointer(pointer!)).takeUnretainedValue()
  }

  /// Numbers from 1: 0 is no node.
  func add(_ document: Document) -> fl_node {
    nodes.append(document)
    return fl_node(nodes.count)
  }

  func node(_ node: fl_node) -> Document { nodes[Int(node) - 1] }

  func define(_ name: String, in scope: fl_scope) -> fl_stat {
    Definitions.shared.define(scope == FL_SCOPE_ROOT ? name : "http.test.\(name)")
  }

  func define(runtime key: String, _ fallback: Double) -> UInt32 {
    Definitions.shared.define(runtime: key, fallback)
  }

  func report(_ message: String) { errors.append(message) }

  func compile(_ list: Document) -> UnsafeRawPointer {
    compiled.append(Compiled(list.items))
    return UnsafeRawPointer(Unmanaged.passUnretained(compiled.last!).toOpaque())
  }

  func fieldNames(_ names: [String]) -> UnsafeRawPointer {
    nameSets.append(FakeNames(names))
    return UnsafeRawPointer(Unmanaged.passUnretained(nameSets.last!).toOpaque())
  }

  func accessRules(_ document: Document) -> UnsafeRawPointer {
    let names = document["policies"]?.items.compactMap(\.text) ?? []
    ruleSets.append(FakeRules(names))
    return UnsafeRawPointer(Unmanaged.passUnretained(ruleSets.last!).toOpaque())
  }

  func policy(_ document: Document) -> UnsafePointer<fl_retry_policy> {
    policies.append(FakeRetryPolicy(document))
    return policies.last!.pointer
  }
}

/// A retry policy as the host lays it out.
final class FakeRetryPolicy {
  let pointer: UnsafePointer<fl_retry_policy>
  private let lender = Lender()
  private var compiled: [Compiled] = []

  private static let names: [String: UInt32] = [
    "5xx": FL_RETRY_5XX.bits, "gateway-error": FL_RETRY_GATEWAY_ERROR.bits,
    "reset": FL_RETRY_RESET.bits, "reset-before-request": FL_RETRY_RESET_BEFORE_REQUEST.bits,
    "connect-failure": FL_RETRY_CONNECT_FAILURE.bits,
    "envoy-ratelimited": FL_RETRY_ENVOY_RATELIMITED.bits,
    "retriable-4xx": FL_RETRY_RETRIABLE_4XX.bits, "refused-stream": FL_RETRY_REFUSED_STREAM.bits,
    "retriable-status-codes": FL_RETRY_RETRIABLE_STATUS_CODES.bits,
    "retriable-headers": FL_RETRY_RETRIABLE_HEADERS.bits, "cancelled": FL_RETRY_GRPC_CANCELLED.bits,
    "deadline-exceeded": FL_RETRY_GRPC_DEADLINE_EXCEEDED.bits,
    "internal": FL_RETRY_GRPC_INTERNAL.bits,
    "resource-exhausted": FL_RETRY_GRPC_RESOURCE_EXHAUSTED.bits,
    "unavailable": FL_RETRY_GRPC_UNAVAILABLE.bits,
  ]

  init(_ document: Document) {
    let policy = UnsafeMutablePointer<fl_retry_policy>.allocate(capacity: 1)
    policy.initialize(to: fl_retry_policy())
    pointer = UnsafePointer(policy)
    for name in document["retry_on"]?.text?.split(separator: ",") ?? [] {
      policy.pointee.retry_on |= Self.names[String(name)]!
    }
    if let retries = document["num_retries"]?.double {
      policy.pointee.has_num_retries = true
      policy.pointee.num_retries = UInt32(retries)
    }
    policy.pointee.per_try_timeout_ms = Self.milliseconds(document["per_try_timeout"]) ?? 0
    policy.pointee.per_try_idle_timeout_ms =
      Self.milliseconds(document["per_try_idle_timeout"]) ?? 0
    policy.pointee.base_interval_ms = Self.milliseconds(document["base_interval"]) ?? 25
    policy.pointee.max_interval_ms =
      Self.milliseconds(document["max_interval"]) ?? 10 * policy.pointee.base_interval_ms
    policy.pointee.reset_max_interval_ms = 300_000
    policy.pointee.retriable_headers = compile(document["retriable_headers"])
    policy.pointee.retriable_request_headers = compile(document["retriable_request_headers"])
    addStatuses(document["retriable_status_codes"]?.items ?? [], to: policy)
    addResetHeaders(document["reset_headers"]?.items ?? [], to: policy)
    if let attempts = document["avoid_previous_hosts"]?.double {
      policy.pointee.avoid_previous_hosts = true
      policy.pointee.host_selection_attempts = UInt32(attempts)
    }
  }

  private func addStatuses(_ items: [Document], to policy: UnsafeMutablePointer<fl_retry_policy>) {
    let codes = UnsafeMutableBufferPointer<UInt32>.allocate(capacity: items.count)
    _ = codes.initialize(from: items.map { UInt32($0.double!) })
    policy.pointee.retriable_status_codes = UnsafePointer(codes.baseAddress)
    policy.pointee.retriable_status_code_count = items.count
  }

  private func addResetHeaders(
    _ items: [Document], to policy: UnsafeMutablePointer<fl_retry_policy>
  ) {
    let headers = UnsafeMutableBufferPointer<fl_reset_header>.allocate(capacity: items.count)
    _ = headers.initialize(
      from: items.map { item in
        fl_reset_header(
          name: lender.lend(item["name"]!.text!),
          unix_timestamp: item["format"]?.text == "UNIX_TIMESTAMP")
      })
    policy.pointee.reset_headers = UnsafePointer(headers.baseAddress)
    policy.pointee.reset_header_count = items.count
  }

  private func compile(_ list: Document?) -> UnsafeRawPointer? {
    guard let list else { return nil }
    compiled.append(Compiled(list.items, matchesAny: true))
    return UnsafeRawPointer(Unmanaged.passUnretained(compiled.last!).toOpaque())
  }

  private static func milliseconds(_ document: Document?) -> UInt64? {
    if case .milliseconds(let value)? = document { value } else { nil }
  }

  deinit {
    pointer.pointee.retriable_status_codes?.deallocate()
    pointer.pointee.reset_headers?.deallocate()
    pointer.deallocate()
  }
}

extension Int {
  fileprivate var bits: UInt32 { UInt32(self) }
}
