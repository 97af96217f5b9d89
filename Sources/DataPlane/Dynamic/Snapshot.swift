import Engine
import HTTPCodec
import Routing
import Upstream

/// What one worker works by at one time: the route table of every connection manager and its view of
/// every cluster, by their places. The main thread makes it and nothing in it changes.
///
/// A stream begins with the worker's latest snapshot and keeps it to its end, so that a request
/// finishes on what it started with. The worker counts who uses it, without an atomic, since they are
/// all its own; when the last one has left a snapshot that was replaced, the main thread is told
/// (`SnapshotKeeper`).
struct Snapshot {
  let version: UInt64
  let routes: Table<RouteTable>
  /// Of connection managers with a filter whose configuration has come by itself.
  let chains: Table<Ref<FilterChain>?>
  let clusters: Table<Ref<ClusterView>?>
  let directory: ClusterDirectory
  let runtime: RuntimeValues
  /// The most fields that a head may have anywhere.
  let maxFields: Int
  /// Streams and sessions that hold it.
  var users = 0
  /// The worker has a later one.
  var isReplaced = false

  /// The chain of a connection manager; nil where it is the manager's own.
  @inline(__always)
  func chain(ofManager place: Int) -> Ref<FilterChain>? {
    // One comparison for both ends: a negative number is a very large one.
    UInt(bitPattern: place) < UInt(bitPattern: chains.count) ? chains[place] : nil
  }

  /// The cluster at a place; nil when there is none any more, or not yet.
  @inline(__always)
  func cluster(at place: UInt32) -> Ref<ClusterView>? {
    let place = Int(place)
    return place < clusters.count ? clusters[place] : nil
  }

  /// The cluster of this name.
  func cluster(named name: Bytes) -> Ref<ClusterView>? {
    directory.find(name).flatMap { cluster(at: UInt32(truncatingIfNeeded: $0)) }
  }

  /// How many hosts a cluster has, and how they are.
  func health(ofCluster name: Bytes) -> (total: UInt32, healthy: UInt32, degraded: UInt32)? {
    guard let cluster = cluster(named: name) else { return nil }
    let hosts = cluster.value.hosts
    return (
      UInt32(clamping: hosts.value.hosts.count), UInt32(clamping: hosts.value.healthyCount),
      UInt32(clamping: hosts.value.degradedCount)
    )
  }
}

extension Ref where Value == Worker {
  /// The latest snapshot, for somebody who gives it back with `release`.
  @inline(__always)
  func holdSnapshot() -> Ref<Snapshot> {
    let snapshot = value.snapshot
    snapshot.value.users &+= 1
    return snapshot
  }

  /// Somebody else holds a snapshot that is held already.
  @inline(__always)
  func hold(_ snapshot: Ref<Snapshot>) -> Ref<Snapshot> {
    snapshot.value.users &+= 1
    return snapshot
  }

  /// Undoes one `holdSnapshot`. The caller must not use the snapshot any more.
  @inline(__always)
  func release(_ snapshot: Ref<Snapshot>) {
    snapshot.value.users &-= 1
    if snapshot.value.isReplaced, snapshot.value.users == 0 { letGo(snapshot) }
  }

  /// Takes over a newer snapshot; the worker's thread, between requests.
  func adopt(_ newer: Ref<Snapshot>) {
    let older = value.snapshot
    value.snapshot = newer
    if newer.value.maxFields > value.parser.capacity {
      // Nothing is being parsed between two callbacks.
      value.parser = HTTP1HeadParser(capacity: newer.value.maxFields)
    }
    older.value.isReplaced = true
    if older.value.users == 0 { letGo(older) }
  }

  /// Out of line, so that what it retains is not retained by requests that need none of it.
  @inline(never)
  private func letGo(_ snapshot: Ref<Snapshot>) {
    value.shared.value.snapshotReleased(snapshot.value.version)
  }
}
