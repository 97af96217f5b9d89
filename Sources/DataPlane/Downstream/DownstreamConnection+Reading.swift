import CLinux
import Engine
import HTTPModel

// From the socket to the phase that the bytes belong to. What nobody can use yet is kept in `stash`.
extension Ref where Value == DownstreamConnection {
  /// Reads of one connection before the others have their turn. More than one would let a peer that
  /// cuts its body into chunks of one byte keep everybody waiting.
  static var readsPerTurn: Int { 1 }

  func readable() {
    let loop = self.loop
    var reads = 0
    while value.connection.isOpen, !value.connection.isReadPaused {
      if value.phase == .closing { return discard() }
      if let session = value.session { return session.readable() }
      guard reads < Self.readsPerTurn else { return connection.yieldReading(on: loop) }
      guard value.stash == nil || !value.stashIsFresh else {
        consumeStash()
        flushOutput()
        continue
      }
      reads += 1
      guard value.stash == nil else {
        guard readIntoStash() else { return }
        continue
      }
      let scratch = unsafe loop.state.value.receiveScratch
      switch unsafe connection.read(into: scratch, capacity: EventLoop.scratchBytes) {
      case .bytes(let n):
        guard mayGoOn() else { return }
        value.stashIsFresh = false
        let used = unsafe consume(scratch, n)
        if used < n, value.connection.isOpen { unsafe keep(scratch + used, n - used) }
      case .wait: return
      case .end: return inputEnded()
      case .failed: return inputFailed()
      }
      flushOutput()
    }
  }

  /// Reads behind what is kept already. False when there is nothing more to do now.
  private func readIntoStash() -> Bool {
    guard var block = value.stash else { return true }
    if block.used == block.capacity {
      guard let larger = grow(block) else {
        refuseHead(.headTooLarge)
        return false
      }
      block = larger
    }
    let outcome = unsafe connection.read(
      into: block.base + block.used, capacity: block.capacity - block.used)
    switch outcome {
    case .bytes(let n):
      guard mayGoOn() else { return false }
      block.used += n
      consumeStash()
    case .wait: return false
    case .end:
      inputEnded()
      return false
    case .failed:
      inputFailed()
      return false
    }
    flushOutput()
    return true
  }

  private func grow(_ block: Block) -> Block? {
    guard block.capacity < BlockPool.largest else { return nil }
    let larger = held.value.loop.state.value.blocks.take(block.capacity * 2)
    _ = larger.append(block.bytes())
    loop.state.value.blocks.release(block)
    value.stash = larger
    return larger
  }

  /// Works on what is kept, as far as the phase allows.
  func consumeStash() {
    guard let block = value.stash else { return }
    // The block is not the connection's while it is worked on: what remains is kept anew.
    value.stash = nil
    value.stashIsFresh = false
    let used = unsafe consume(block.base, block.used)
    let left = block.used - used
    if left > 0, value.connection.isOpen, value.phase != .closing {
      if used > 0 { unsafe _ = memmove(block.base, block.base + used, left) }
      block.used = left
      value.stash = block
    } else {
      loop.state.value.blocks.release(block)
    }
    closeAfterLastRequest()
  }

  private func keep(_ bytes: UnsafeMutablePointer<UInt8>, _ n: Int) {
    guard value.phase != .closing else { return }
    let block = loop.state.value.blocks.take(min(max(n + 1024, 4096), BlockPool.largest))
    _ = unsafe block.append(Bytes(base: UnsafePointer(bytes), count: n))
    value.stash = block
  }

  /// Hands bytes to the phase they belong to; how many were used.
  private func consume(_ bytes: UnsafeMutablePointer<UInt8>, _ n: Int) -> Int {
    value.isConsuming = true
    defer { value.isConsuming = false }
    var used = 0
    while used < n, value.connection.isOpen {
      switch value.phase {
      case .head:
        let taken = unsafe consumeHead(bytes + used, n - used)
        guard taken > 0 else { return used }
        used += taken
      case .body, .tunnel:
        let input = unsafe Bytes(base: UnsafePointer(bytes), count: n)
        let before = used
        unsafe consumeBody(input, bytes, at: &used)
        // Paused, or in need of more bytes to make out trailers: what is left is kept.
        if used == before { return used }
      case .waiting:
        holdBack()
        return used
      case .closing:
        return n
      }
    }
    return used
  }
}
