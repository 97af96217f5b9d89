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
    for downstream in value.worker.value.openDownstreams where downstream.value.listener == self {
      downstream.close()
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
