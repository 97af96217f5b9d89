import Engine
import HTTPModel
import Telemetry

/// What one group of additions comes to for one head: plans and values, one after the other in a
/// block. A literal's value stays where it is.
struct PlannedValues: ~Copyable {
  private var block: Block
  /// The values together are longer than any head may be: the rest of the group is left out.
  private var isFull = false

  /// A plan's byte and a length of four bytes before each value.
  private static let recordBytes = 5

  init(pool: inout BlockPool) { block = pool.take() }

  consuming func release(into pool: inout BlockPool) { pool.release(block) }

  /// Decides what becomes of one addition.
  mutating func plan<Source: LogSource>(
    _ addition: HeaderAddition, of part: HeadPart, _ headers: borrowing HeaderMap,
    _ source: Source, _ renderer: LogRenderer, pool: inout BlockPool
  ) {
    guard !isFull, reserve(Self.recordBytes, pool: &pool) else {
      isFull = true
      return
    }
    let start = block.used
    if let literal = addition.value.literal {
      write(addition.plan(for: headers, isEmpty: literal.isEmpty), length: 0, at: start)
      return
    }
    write(.leave, length: 0, at: start)
    let length = writeValue(addition.value, of: part, headers, source, renderer, pool: &pool)
    let plan = addition.plan(for: headers, isEmpty: length == 0)
    write(length == nil ? .leave : plan, length: length ?? 0, at: start)
  }

  /// Carries out the plans of one kind.
  func carryOut(
    _ kind: HeaderAddition.Plan, _ added: Table<HeaderAddition>,
    on headers: inout HeaderMap, pool: inout BlockPool
  ) {
    let records = block.bytes()
    var at = 0
    var index = 0
    while index < added.count, at < records.count {
      let addition = added[index]
      let plan = HeaderAddition.Plan(rawValue: records[at]) ?? .leave
      let length = Self.length(in: records, at: at)
      let value = at &+ Self.recordBytes
      if plan == kind {
        addition.carryOut(
          plan, addition.value.literal ?? records[value, value &+ length], on: &headers,
          pool: &pool)
      }
      at = value &+ length
      index &+= 1
    }
  }

  // MARK: Records

  private mutating func writeValue<Source: LogSource>(
    _ template: HeaderTemplate, of part: HeadPart, _ headers: borrowing HeaderMap,
    _ source: Source, _ renderer: LogRenderer, pool: inout BlockPool
  ) -> Int? {
    while true {
      if let length = template.write(of: part, headers, source, renderer, appendingTo: block) {
        return length
      }
      guard reserve(block.capacity - block.used + 1, pool: &pool) else { return nil }
    }
  }

  private mutating func reserve(_ bytes: Int, pool: inout BlockPool) -> Bool {
    let needed = block.used + bytes
    guard needed > block.capacity else { return true }
    guard needed <= BlockPool.largest else { return false }
    let larger = pool.take(needed)
    _ = larger.append(block.bytes())
    pool.release(block)
    block = larger
    return true
  }

  private func write(_ plan: HeaderAddition.Plan, length: Int, at start: Int) {
    let end = max(block.used, start + Self.recordBytes)
    block.used = start
    var record = unsafe ByteWriter(base: block.base + start, capacity: Self.recordBytes)
    record.append(plan.rawValue)
    var shift = 0
    while shift < 32 {
      record.append(UInt8(truncatingIfNeeded: length >> shift))
      shift += 8
    }
    block.used = end
  }

  private static func length(in records: Bytes, at start: Int) -> Int {
    var length = 0
    var index = 4
    while index > 0 {
      length = length << 8 | Int(records[start &+ index])
      index &-= 1
    }
    return length
  }
}
