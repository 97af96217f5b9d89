import Engine

// What endpoints are told of a client by the PROXY protocol, and the pools of connections that say so.
extension Ref where Value == DownstreamConnection {
  var announced: AnnouncedClient {
    AnnouncedClient(remote: value.remote, local: value.local, told: value.told)
  }

  /// A pool carries this client's requests alone, until it is forgotten.
  func remember(_ pool: Ref<HostPool>) {
    pool.value.nextOfClient = value.ownPools
    value.ownPools = pool
  }

  /// The pool is about to be freed.
  func forget(_ pool: Ref<HostPool>) {
    guard value.ownPools != pool else {
      value.ownPools = pool.value.nextOfClient
      return
    }
    var before = value.ownPools
    while let other = before?.value.nextOfClient, other != pool { before = other }
    before?.value.nextOfClient = pool.value.nextOfClient
  }

  /// The client is gone: what is idle is closed, and what is under way goes on.
  func leavePools() {
    var next = value.ownPools
    value.ownPools = nil
    while let pool = next {
      next = pool.value.nextOfClient
      pool.value.nextOfClient = nil
      pool.clientLeft()
    }
  }
}
