import Engine
import Upstream

// The pools of a host on one worker: one, or one for each name that requests ask for, each protocol
// and each client that connections say they are for. They are a list that hangs on the host, the last
// used first.
extension Ref where Value == Worker {
  /// Pools of one host. Names and clients come from outside, and each takes memory and connections:
  /// beyond this the pool that was not used for longest is given up, which costs its next request a
  /// connection.
  private static var poolsPerHost: Int { 256 }

  /// The pool of a host for what a request says of TLS, what is to be spoken, and whom connections are
  /// announced to be for; made when it is first asked for.
  /// - Parameter client: nil where connections are announced for nobody.
  @inline(__always)
  func pool(
    for entry: HostEntry, of cluster: Ref<ClusterView>, asked: RequestedName,
    speaks: UpstreamProtocol, client: Downstream?
  ) -> Ref<HostPool> {
    if let first = firstPool(of: entry.host), first.value.serves(asked, speaks, client) {
      return first
    }
    return otherPool(for: entry, of: cluster, asked: asked, speaks: speaks, client: client)
  }

  private func otherPool(
    for entry: HostEntry, of cluster: Ref<ClusterView>, asked: RequestedName,
    speaks: UpstreamProtocol, client: Downstream?
  ) -> Ref<HostPool> {
    let first = firstPool(of: entry.host)
    var count = first == nil ? 0 : 1
    var before = first
    while let pool = before?.value.next {
      if pool.value.serves(asked, speaks, client) {
        before?.value.next = pool.value.next
        pool.value.next = first
        setFirstPool(pool, of: entry.host)
        return pool
      }
      count += 1
      if count >= Self.poolsPerHost {
        before?.value.next = nil
        giveUp(pool)
        break
      }
      before = pool
    }
    // The host lives as long as its pools: it is released when it has left and nothing is open.
    entry.host.value.pin(worker: value.index)
    let pool = Ref<HostPool>.immortal(
      HostPool(
        worker: self, cluster: cluster, host: entry.host, entry: entry, asked: asked,
        speaks: speaks, client: client))
    client?.remember(pool)
    pool.value.next = first
    setFirstPool(pool, of: entry.host)
    return pool
  }

  /// Out of the list; what is under way in it goes on.
  private func giveUp(_ pool: Ref<HostPool>) {
    pool.value.isListed = false
    pool.value.next = nil
    pool.leaveCluster()
  }

  /// The pool is about to be freed.
  func unlist(_ pool: Ref<HostPool>) {
    let host = pool.value.host
    guard let first = firstPool(of: host), first != pool else {
      return setFirstPool(pool.value.next, of: host)
    }
    var before = first
    while let next = before.value.next, next != pool { before = next }
    before.value.next = pool.value.next
  }

  // MARK: Membership

  /// Lets the pools follow a cluster's hosts. Before the worker sees the view.
  func followHosts(of view: Ref<ClusterView>) {
    view.value.hostsChanged = { cluster in hostsChanged(of: cluster) }
  }

  /// The cluster is no longer used but by requests that began before: what falls idle is closed.
  func drainPools(of cluster: Ref<ClusterView>) {
    let hosts = cluster.value.hosts
    for index in 0..<hosts.value.hosts.count {
      forEachPool(of: hosts.value.hosts[index].host) { $0.leaveCluster() }
    }
  }

  private func hostsChanged(of cluster: Ref<ClusterView>) {
    let hosts = cluster.value.hosts
    for index in 0..<hosts.value.removed.count {
      forEachPool(of: hosts.value.removed[index]) { $0.leaveCluster() }
    }
    for index in 0..<hosts.value.hosts.count {
      let entry = hosts.value.hosts[index]
      forEachPool(of: entry.host) { $0.stay(entry) }
    }
  }

  // MARK: The list

  private func forEachPool(of host: Ref<Host>, _ body: (Ref<HostPool>) -> Void) {
    var next = firstPool(of: host)
    while let pool = next {
      next = pool.value.next
      body(pool)
    }
  }

  @inline(__always)
  private func firstPool(of host: Ref<Host>) -> Ref<HostPool>? {
    unsafe host.value.attachment(worker: value.index).map { unsafe Ref<HostPool>(raw: $0) }
  }

  private func setFirstPool(_ pool: Ref<HostPool>?, of host: Ref<Host>) {
    unsafe host.value.setAttachment(pool?.raw, worker: value.index)
  }
}
