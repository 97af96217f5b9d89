import CLinux

extension Ref where Value == Connection {
  /// Moves what waits in another connection's socket to this one's, as `read` and `write` would do, but
  /// without a copy. What this socket does not take is copied to the queue. Nil where it cannot be
  /// done: something is queued or transformed on the way, or there is no pipe; then read and write.
  package func splice(from source: Ref<Connection>, on loop: EventLoop) -> ReadOutcome? {
    guard value.takesSpliced, !source.value.isSecured else { return nil }
    guard source.value.mayRead else { return .wait }
    guard let pipe = loop.state.value.splicePipe.open() else { return nil }
    let most = max(EventLoop.scratchBytes, min(value.highWatermark, SplicePipe.capacity))
    let n = fl_splice(source.value.fd, pipe.writing, most)
    guard n > 0 else {
      if n == 0 { return .end }
      // Not a kind of socket that the kernel can do this with.
      if n == -Int(EINVAL) { return nil }
      guard n == -Int(EAGAIN) else { return .failed(Int32(truncatingIfNeeded: -n)) }
      source.value.mayRead = false
      return .wait
    }
    source.value.bytesRead &+= UInt64(n)
    source.value.tally.addReceived(n)
    value.bytesWritten &+= UInt64(n)
    value.tally.addSent(n)
    send(n, from: pipe, on: loop)
    return .bytes(n)
  }

  /// Empties the pipe, which holds so many bytes.
  private func send(_ count: Int, from pipe: fl_pipe_ends, on loop: EventLoop) {
    var left = count
    while left > 0 {
      let n = fl_splice(pipe.reading, value.fd, left)
      if n == -Int(EAGAIN) { break }
      guard n > 0 else { return fail(on: loop) }
      left -= n
    }
    let scratch = unsafe loop.state.value.receiveScratch
    while left > 0 {
      let n = unsafe fl_pipe_read(pipe.reading, scratch, min(left, EventLoop.scratchBytes))
      guard n > 0 else { return fail(on: loop) }
      value.enqueue(
        unsafe Bytes(base: UnsafePointer(scratch), count: n), .empty,
        blocks: &loop.state.value.blocks)
      left -= n
    }
  }

  private func fail(on loop: EventLoop) {
    value.writeFailed = true
    loop.state.value.splicePipe.discard()
  }
}

extension Connection {
  /// Bytes would go to the socket as they are, and at once.
  fileprivate var takesSpliced: Bool {
    isOpen && !connecting && !writeFailed && !isSecured && queue.isEmpty
  }
}
