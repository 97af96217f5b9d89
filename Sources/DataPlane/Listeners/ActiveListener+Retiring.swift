import Engine

// How a listener that was replaced or removed comes to its end on one worker.
extension Ref where Value == ActiveListener {
  /// Takes over the socket of the version before: not one connection is refused between the two.
  func takeSocket(of older: Ref<ActiveListener>) {
    if let registration = older.value.registration {
      value.worker.value.loop.release(registration)
      older.value.registration = nil
    }
    value.fd = older.value.fd
    older.value.fd = -1
  }

  /// Takes over the connections of the version before that come through these chains, and those whose
  /// chain is not chosen yet. They notice nothing.
  func takeConnections(of older: Ref<ActiveListener>, through chains: [Ref<NetworkChain>]) {
    let kept = Set(chains.map(Self.address))
    let worker = value.worker
    worker.value.pendings.withEach { pending in
      guard pending.value.fd >= 0, pending.value.listener == older else { return }
      pending.value.listener = move(from: older)
    }
    worker.value.downstreams.withEach { downstream in
      guard downstream.value.connection.isOpen, downstream.value.listener == older,
        downstream.value.chain.map({ kept.contains(Self.address($0)) }) == true
      else { return }
      downstream.value.listener = move(from: older)
    }
    worker.value.tcpSessions.withEach { session in
      guard session.value.phase != .over, session.value.listener == older,
        session.value.chain.map({ kept.contains(Self.address($0)) }) == true
      else { return }
      session.value.listener = move(from: older)
    }
    worker.value.plains.withEach { plain in
      guard plain.value.connection.isOpen, plain.value.listener == older,
        plain.value.chain.map({ kept.contains(Self.address($0)) }) == true
      else { return }
      plain.value.listener = move(from: older)
    }
  }

  /// What tells one chain from another.
  private static func address(_ chain: Ref<NetworkChain>) -> UInt {
    unsafe UInt(bitPattern: chain.raw)
  }

  private func move(from older: Ref<ActiveListener>) -> Ref<ActiveListener> {
    hold()
    older.letGo()
    return self
  }

  /// It accepts nothing more, and its clients are told to go.
  /// - Parameter whenGone: called once, when nothing on this worker refers to it any more.
  func retire(_ whenGone: @escaping @Sendable () -> Void) {
    value.isDraining = true
    value.whenGone = whenGone
    hold()
    stop()
    letGo()
  }

  /// The drain time is over.
  func closeConnections() {
    let worker = value.worker
    for downstream in worker.value.openDownstreams where downstream.value.listener == self {
      downstream.close()
    }
    worker.value.tcpSessions.withEach { session in
      guard session.value.phase != .over, session.value.listener == self else { return }
      session.close()
    }
    worker.value.plains.withEach { plain in
      if plain.value.connection.isOpen, plain.value.listener == self { plain.close() }
    }
  }

  /// A connection, or a timer, refers to it.
  func hold() { value.users &+= 1 }

  /// Undoes one `hold`. The caller must not use the listener any more.
  func letGo() {
    value.users &-= 1
    guard value.users == 0, let whenGone = value.whenGone else { return }
    value.whenGone = nil
    whenGone()
  }
}
