/// Envoy's statistics of one gRPC call at its cluster: `<protocol>.<service>.<method>.…`, or
/// `<protocol>.…` for all methods together. The name is kept in the filter's state, because the path
/// that it comes from may change on the way.
@frozen
public struct GRPCStatistics: BitwiseCopyable {
  /// What service, method and statistic of a call may come to; calls beyond are not counted.
  @usableFromInline static var capacity: Int { 256 }
  /// Room for the longest statistic, `response_message_count`, or a status.
  @usableFromInline static var suffixBytes: Int { 24 }

  @usableFromInline var text = InlineArray<256, UInt8>(repeating: 0)
  @usableFromInline var count = 0

  /// Counts all methods together.
  @inlinable public init(protocol name: StaticString) {
    _ = append(ByteView(stringLiteral: name))
    _ = append(".")
  }

  /// Counts a method by itself; nil when the names are too long.
  @inlinable public init?(
    protocol name: StaticString, method: GRPCMethod, replacingDots: Bool = false
  ) {
    self.init(protocol: name)
    let start = count
    guard append(method.service) else { return nil }
    if replacingDots {
      for index in start..<count where text[index] == UInt8(ascii: ".") {
        text[index] = UInt8(ascii: "_")
      }
    }
    guard append("."), append(method.name), append("."),
      count + Self.suffixBytes <= Self.capacity
    else { return nil }
  }

  @inlinable mutating func append(_ bytes: ByteView) -> Bool {
    guard bytes.count <= Self.capacity - count else { return false }
    for index in 0..<bytes.count { text[count + index] = bytes[index] }
    count += bytes.count
    return true
  }

  /// Counts how a call ended: its status as the field has it, success or failure, and the total.
  @inlinable public mutating func charge(status: ByteView?, _ context: borrowing StreamContext) {
    guard let status else { return }
    add(1, status, context)
    add(1, status == "0" ? "success" : "failure", context)
    add(1, "total", context)
  }

  /// Adds to one of the call's counters.
  @inlinable public mutating func add(
    _ amount: UInt64, _ statistic: ByteView, _ context: borrowing StreamContext
  ) {
    withName(of: statistic) { context.count(amount, atCluster: $0) }
  }

  /// Records in one of the call's histograms.
  @inlinable public mutating func record(
    _ number: UInt64, _ statistic: ByteView, _ context: borrowing StreamContext
  ) {
    withName(of: statistic) { context.record(number, atCluster: $0) }
  }

  @inlinable mutating func withName(of statistic: ByteView, _ body: (ByteView) -> Void) {
    let length = count
    guard append(statistic) else { return }
    let whole = count
    count = length
    var span = text.mutableSpan
    // SAFETY: the view is used during the call only, and `append` has filled `whole` bytes.
    unsafe span.withUnsafeMutableBufferPointer { bytes in
      unsafe body(ByteView(start: UnsafePointer(bytes.baseAddress), count: whole))
    }
  }
}

/// A gRPC call's service and method: the two parts of its path.
@frozen
public struct GRPCMethod {
  public let service: ByteView
  public let name: ByteView

  @inlinable public init(service: ByteView, name: ByteView) {
    self.service = service
    self.name = name
  }

  /// nil for a path of more or fewer parts, which names no method. Empty parts and a query do not
  /// count.
  @inlinable public init?(path: ByteView) {
    var parts = (ByteView(), ByteView())
    var found = 0
    var start = 0
    for index in 0...path.count {
      let isEnd = index == path.count || path[index] == UInt8(ascii: "?")
      guard isEnd || path[index] == UInt8(ascii: "/") else { continue }
      if index > start {
        found += 1
        if found == 1 { parts.0 = path[start..<index] } else { parts.1 = path[start..<index] }
      }
      start = index + 1
      if isEnd || found > 2 { break }
    }
    guard found == 2 else { return nil }
    self.init(service: parts.0, name: parts.1)
  }
}
