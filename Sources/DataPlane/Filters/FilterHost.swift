import CFilterABI
import Engine
import HTTPModel
import Routing
import Telemetry

/// The host's side of the filter door while requests run: one table of functions, each of which
/// finds its stream and does one thing. What would run other filters is noted in `wanted` and done
/// when the callback at hand has returned.
///
/// The functions for loading configurations stand in `FilterLoading`.
enum FilterHost {
  /// The table that every filter gets; it lives as long as the process.
  nonisolated(unsafe) static let table: Ref<fl_host> = .immortal(makeTable())

  private static func makeTable() -> fl_host {
    var host = fl_host()
    host.abi_major = FL_ABI_MAJOR
    host.abi_minor = FL_ABI_MINOR
    host.size = MemoryLayout<fl_host>.size
    FilterLoading.fill(&host)
    fillFields(&host)
    fillChain(&host)
    fillAttempts(&host)
    fillFacts(&host)
    fillStatistics(&host)
    FilterWorkers.fill(&host)
    FilterAccess.fill(&host)
    return host
  }

  /// The slot behind `fl_stream *`. SAFETY: filters give back what they were lent.
  @inline(__always)
  static func slot(_ raw: OpaquePointer?) -> Ref<FilterSlot>? {
    guard let raw = unsafe raw else { return nil }
    let slot = unsafe Ref<FilterSlot>(raw: UnsafeMutableRawPointer(raw))
    return slot.value.isEnabled ? slot : nil
  }

  @inline(__always)
  static func stream(_ raw: OpaquePointer?) -> Ref<RequestStream>? {
    unsafe slot(raw)?.value.stream
  }

  // MARK: Fields

  private static func fillFields(_ host: inout fl_host) {
    unsafe host.field_get = { raw, part, name, out in
      guard let stream = unsafe FilterHost.stream(raw), let out = unsafe out else { return false }
      let found = unsafe stream.field(part, Bytes(name))
      if let found { unsafe out.pointee = found.abi }
      return found != nil
    }
    unsafe host.field_at = { raw, part, position, out in
      guard let stream = unsafe FilterHost.stream(raw), let position = unsafe position,
        let out = unsafe out
      else { return false }
      var index = unsafe position.pointee
      guard let (name, value) = stream.field(part, at: &index) else { return false }
      unsafe position.pointee = index
      unsafe out.pointee = fl_field(name: name.abi, value: value.abi)
      return true
    }
    unsafe host.field_set = { raw, part, name, value in
      guard let stream = unsafe FilterHost.stream(raw) else { return }
      // What filters do most.
      if part == FL_REQUEST_HEAD {
        unsafe stream.setRequestField(Bytes(name), Bytes(value))
      } else {
        unsafe stream.change(part, Bytes(name), .set(Bytes(value)))
      }
    }
    unsafe host.field_add = { raw, part, name, value in
      unsafe FilterHost.stream(raw)?.change(part, Bytes(name), .add(Bytes(value)))
    }
    unsafe host.field_remove = { raw, part, name in
      unsafe FilterHost.stream(raw)?.change(part, Bytes(name), .remove)
    }
    unsafe host.headers_match = { raw, part, matchers in
      guard let stream = unsafe FilterHost.stream(raw), let matchers = unsafe matchers else {
        return false
      }
      return unsafe stream.matches(part, matchers)
    }
    unsafe host.fields_any = { raw, part, names in
      guard let stream = unsafe FilterHost.stream(raw), let names = unsafe names else {
        return false
      }
      return unsafe stream.mayHave(part, names)
    }
    unsafe host.headers_mutate = { raw, part, mutations in
      guard let stream = unsafe FilterHost.stream(raw), let mutations = unsafe mutations else {
        return
      }
      unsafe stream.mutate(part, mutations)
    }
    unsafe host.body_replace = { raw, bytes in
      guard let stream = unsafe FilterHost.stream(raw) else { return }
      if unsafe !stream.setReplacement(Bytes(bytes)) {
        stream.setDetails(Bytes("filter_reset"))
        stream.value.wanted.insert(.reset)
      }
    }
    // A trailers callback has no piece that could be replaced: what stands there goes on behind it.
    unsafe host.body_append = host.body_replace
    unsafe host.set_buffer_limit = { raw, limit in
      guard let stream = unsafe FilterHost.stream(raw) else { return }
      let bytes = Int(clamping: limit)
      stream.value.request.limit = bytes
      stream.value.response.limit = bytes
    }
  }

  // MARK: The chain

  private static func fillChain(_ host: inout fl_host) {
    unsafe host.reply = { raw, reply in
      guard let slot = unsafe FilterHost.slot(raw), let reply = unsafe reply else { return }
      let stream = slot.value.stream
      unsafe stream.prepareReply(reply, by: Int(slot.value.index))
      if stream.value.depth == 0 { _ = stream.settle() }
    }
    unsafe host.resume_request = { raw in
      guard let slot = unsafe FilterHost.slot(raw) else { return }
      let stream = slot.value.stream
      stream.value.wanted.insert(.resumeRequest)
      if stream.value.depth == 0 { stream.resumeRequest(at: Int(slot.value.index)) }
    }
    unsafe host.resume_response = { raw in
      guard let slot = unsafe FilterHost.slot(raw) else { return }
      let stream = slot.value.stream
      stream.value.wanted.insert(.resumeResponse)
      if stream.value.depth == 0 { stream.resumeResponse(at: Int(slot.value.index)) }
    }
    unsafe host.reset = { raw, details in
      guard let stream = unsafe FilterHost.stream(raw) else { return }
      unsafe stream.setDetails(Bytes(details))
      stream.value.wanted.insert(.reset)
      if stream.value.depth == 0 { _ = stream.settle() }
    }
    unsafe host.clear_route_cache = { raw in unsafe FilterHost.stream(raw)?.matchRoute() }
    unsafe host.leave = { raw in
      guard let slot = unsafe FilterHost.slot(raw) else { return }
      slot.value.stream.close(slot)
    }
  }

  // MARK: Attempts

  private static func fillAttempts(_ host: inout fl_host) {
    unsafe host.retain_body = { raw, limit in
      guard let slot = unsafe FilterHost.slot(raw), slot.value.mayReplay else { return }
      slot.value.stream.value.attempt.keepsBody = true
      slot.value.stream.value.attempt.retainLimit = limit
    }
    unsafe host.attempt = { raw, out in
      guard let stream = unsafe FilterHost.stream(raw), let out = unsafe out else { return }
      unsafe out.pointee = stream.attemptFacts
    }
    unsafe host.replay_after = { raw, delay in
      unsafe FilterHost.stream(raw)?.value.attempt.replayDelay = delay
    }
    unsafe host.fail_attempt = { raw, failure in
      guard let stream = unsafe FilterHost.stream(raw) else { return }
      stream.value.wanted.insert(.failure)
      stream.value.wantedFailure = failure
      if stream.value.depth == 0 { _ = stream.settle() }
    }
    unsafe host.admit_retry = { raw in unsafe FilterHost.stream(raw)?.admitRetry() ?? false }
    unsafe host.avoid_previous_hosts = { raw, attempts in
      unsafe FilterHost.stream(raw)?.value.attempt.avoidAttempts = max(attempts, 1)
    }
  }

  // MARK: Facts

  private static func fillFacts(_ host: inout fl_host) {
    unsafe host.route_config = { raw in unsafe FilterHost.slot(raw)?.value.routeConfig }
    unsafe host.route_config_at = { raw, index in
      guard let slot = unsafe FilterHost.slot(raw) else { return nil }
      return unsafe slot.value.stream.routeConfig(
        ofSlot: slot.value.entry.value.routeSlot, level: index)
    }
    unsafe host.mark_health_check = { raw in
      unsafe FilterHost.stream(raw)?.value.isHealthCheck = true
    }
    unsafe host.route_timeouts = { raw in
      guard let stream = unsafe FilterHost.stream(raw) else {
        return unsafe UnsafePointer(RouteState.noTimeouts.pointer)
      }
      return unsafe stream.routeTimeouts
    }
    unsafe host.route_retry_policy = { raw in
      unsafe FilterHost.stream(raw)?.routeRetryPolicy
    }
    unsafe host.cluster_health = { raw, name, total, healthy, degraded in
      guard let stream = unsafe FilterHost.stream(raw),
        let health = unsafe stream.snapshot.value.health(ofCluster: Bytes(name))
      else { return false }
      unsafe total?.pointee = health.total
      unsafe healthy?.pointee = health.healthy
      unsafe degraded?.pointee = health.degraded
      return true
    }
    unsafe host.timer_start = { raw, milliseconds, tag in
      guard let slot = unsafe FilterHost.slot(raw) else { return 0 }
      return slot.value.stream.startTimer(for: slot, milliseconds: milliseconds, tag: tag)
    }
    unsafe host.timer_cancel = { raw, ticket in
      guard let slot = unsafe FilterHost.slot(raw) else { return }
      slot.value.stream.cancelTicket(ticket, of: slot)
    }
    unsafe host.call_start = { raw, call in
      guard let slot = unsafe FilterHost.slot(raw), let call = unsafe call else { return 0 }
      return unsafe slot.value.stream.startCall(for: slot, call.pointee)
    }
    unsafe host.call_cancel = { raw, ticket in
      guard let slot = unsafe FilterHost.slot(raw) else { return }
      slot.value.stream.cancelTicket(ticket, of: slot)
    }
    unsafe host.number = { raw, number in unsafe FilterHost.stream(raw)?.number(number) ?? 0 }
    unsafe host.text = { raw, text, out in
      guard let stream = unsafe FilterHost.stream(raw), let out = unsafe out,
        let value = stream.text(text)
      else { return false }
      unsafe out.pointee = value.abi
      return true
    }
    unsafe host.set_flag = { raw, flag in
      unsafe FilterHost.stream(raw)?.value.flags.formUnion(ResponseFlags(of: flag))
    }
    unsafe host.runtime = { raw, key in
      guard let stream = unsafe FilterHost.stream(raw) else { return 0 }
      return stream.snapshot.value.runtime.number(key)
    }
    unsafe host.metadata_set = { raw, space, key, value in
      guard let stream = unsafe FilterHost.stream(raw) else { return }
      unsafe stream.value.metadata.set(
        Bytes(space), Bytes(key), MetadataValue(Bytes(value)),
        from: &stream.loop.state.value.blocks)
    }
    unsafe host.metadata_set_flag = { raw, space, key, flag in
      guard let stream = unsafe FilterHost.stream(raw) else { return }
      unsafe stream.value.metadata.set(
        Bytes(space), Bytes(key), MetadataValue(flag: flag),
        from: &stream.loop.state.value.blocks)
    }
    unsafe host.metadata_get = { raw, space, key, out in
      guard let stream = unsafe FilterHost.stream(raw), let out = unsafe out,
        let value = unsafe stream.value.metadata.get(Bytes(space), Bytes(key))
      else { return false }
      unsafe out.pointee = value.abi
      return true
    }
    unsafe host.connection_number = { raw, first in
      guard let slot = unsafe FilterHost.slot(raw),
        let downstream = slot.value.stream.value.downstream
      else { return nil }
      return unsafe downstream.filterNumber(
        Int(slot.value.index), serial: slot.value.entry.value.serial, first: first)
    }
    unsafe host.peer = { raw in unsafe FilterHost.stream(raw)?.peer ?? FL_PEER_PLAIN }
    unsafe host.peer_name = { raw, kind, index, out in
      guard let stream = unsafe FilterHost.stream(raw), let out = unsafe out,
        let name = stream.peerName(kind, index)
      else { return false }
      unsafe out.pointee = name.abi
      return true
    }
    unsafe host.worker_state = { raw in
      guard let slot = unsafe FilterHost.slot(raw) else { return nil }
      let stream = slot.value.stream
      return unsafe stream.worker.value.filterState(
        of: stream.manager, index: Int(slot.value.index),
        ownPlace: slot.value.entry.value.ownPlace)
    }
    unsafe host.log = { level, message in unsafe FilterLog.write(level, Bytes(message)) }
  }

  // MARK: Statistics

  private static func fillStatistics(_ host: inout fl_host) {
    unsafe host.counter_add = { raw, stat, n in
      guard stat != UInt32.max, let stream = unsafe FilterHost.stream(raw) else { return }
      stream.worker.value.stats.add(CounterID(index: stat), n)
    }
    unsafe host.gauge_add = { raw, stat, n in
      guard stat != UInt32.max, let stream = unsafe FilterHost.stream(raw) else { return }
      stream.worker.value.stats.gaugeAdd(GaugeID(index: stat), n)
    }
    unsafe host.histogram_record = { raw, stat, n in
      guard stat != UInt32.max, let stream = unsafe FilterHost.stream(raw) else { return }
      stream.worker.value.stats.record(HistogramID(index: stat), n)
    }
    unsafe host.cluster_counter_add = { raw, stat, n in
      unsafe FilterHost.stream(raw)?.countForCluster(stat, n)
    }
    unsafe host.cluster_counter_named = { raw, name, n in
      unsafe FilterHost.stream(raw)?.filterCluster?.count(n, named: Bytes(name))
    }
    unsafe host.cluster_histogram_named = { raw, name, n in
      unsafe FilterHost.stream(raw)?.filterCluster?.record(n, named: Bytes(name))
    }
  }
}
