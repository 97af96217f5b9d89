/// Bytes that wait for a slow peer, in pooled blocks. Empty, it holds no memory.
@usableFromInline
package struct ByteQueue: ~Copyable {
  @usableFromInline internal var head: Block?
  @usableFromInline internal var tail: Block?
  /// Bytes of the first block that have gone already.
  @usableFromInline internal var headOffset = 0
  /// Bytes waiting.
  @usableFromInline package private(set) var count = 0

  @inlinable
  package init() {}

  @inlinable
  package var isEmpty: Bool { count == 0 }

  package mutating func append(_ bytes: Bytes, from pool: inout BlockPool) {
    var rest = bytes
    while !rest.isEmpty {
      let block: Block
      if let tail, tail.used < tail.capacity {
        block = tail
      } else {
        block = pool.take(min(max(rest.count, 4096), 32 * 1024))
        if let tail { tail.next = block } else { head = block }
        tail = block
      }
      let n = block.append(rest)
      rest = rest.dropFirst(n)
      count &+= n
    }
  }

  /// The first contiguous bytes.
  package var front: Bytes { head?.bytes(from: headOffset) ?? .empty }

  /// The contiguous bytes behind `front`, if there are any.
  package var second: Bytes { head?.next?.bytes() ?? .empty }

  /// Calls `body` with every run of contiguous bytes, first to last.
  package func visit(_ body: (Bytes) -> Void) {
    var block = head
    var offset = headOffset
    while let current = block {
      body(current.bytes(from: offset))
      offset = 0
      block = current.next
    }
  }

  /// Forgets the first `n` bytes, `n` at most `count`.
  package mutating func drop(_ n: Int, into pool: inout BlockPool) {
    precondition(n >= 0 && n <= count, "no more bytes than are queued")
    count &-= n
    var rest = n
    while let block = head {
      let here = block.used &- headOffset
      if rest < here || (rest == here && block.next == nil && count > 0) {
        headOffset &+= rest
        return
      }
      rest &-= here
      headOffset = 0
      head = block.next
      if head == nil { tail = nil }
      pool.release(block)
      if rest == 0 && count > 0 { return }
    }
  }

  @inlinable @inline(__always)
  package mutating func removeAll(into pool: inout BlockPool) {
    if head != nil { releaseAll(into: &pool) }
  }

  @usableFromInline
  internal mutating func releaseAll(into pool: inout BlockPool) {
    while let block = head {
      head = block.next
      pool.release(block)
    }
    tail = nil
    headOffset = 0
    count = 0
  }
}
