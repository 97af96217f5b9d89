import CFilterABI
import Engine
import Telemetry

/// One filter's place on one worker: what `fl_worker *` points to.
@safe
struct FilterWorker {
  let worker: Ref<Worker>
  let table: UnsafePointer<fl_filter>
  var state: UnsafeMutableRawPointer?
}

/// The functions of the filter door that work outside any stream.
enum FilterWorkers {
  static func fill(_ host: inout fl_host) {
    unsafe host.worker_timer_start = { raw, milliseconds, tag in
      guard let raw = unsafe raw else { return 0 }
      let place = unsafe Ref<FilterWorker>(raw: UnsafeMutableRawPointer(raw))
      let timer = unsafe place.value.worker.value.loop.after(
        milliseconds: milliseconds, context: place.raw, tag: tag
      ) { raw, tag in
        let place = unsafe Ref<FilterWorker>(raw: raw)
        guard let callback = unsafe place.value.table.pointee.on_worker_timer else { return }
        unsafe callback(place.value.state, tag)
      }
      return timer.ticket
    }
    unsafe host.worker_timer_cancel = { raw, ticket in
      guard let raw = unsafe raw else { return }
      let place = unsafe Ref<FilterWorker>(raw: UnsafeMutableRawPointer(raw))
      place.value.worker.value.loop.cancel(TimerID(ticket: ticket))
    }
    unsafe host.worker_counter_add = { raw, stat, n in
      guard let raw = unsafe raw, stat != UInt32.max else { return }
      let place = unsafe Ref<FilterWorker>(raw: UnsafeMutableRawPointer(raw))
      place.value.worker.value.stats.add(CounterID(index: stat), n)
    }
  }

  /// Makes the places of one chain's filters on one worker.
  static func make(
    _ chain: Ref<FilterChain>, _ filters: [LoadedFilter], on worker: Ref<Worker>
  ) -> Table<Ref<FilterWorker>> {
    .immortal(
      filters.map { filter in
        let place = unsafe Ref<FilterWorker>.immortal(
          FilterWorker(worker: worker, table: filter.table, state: nil))
        if let make = unsafe filter.table.pointee.worker_new {
          unsafe place.value.state = make(filter.config, OpaquePointer(place.raw))
        }
        return place
      })
  }
}
