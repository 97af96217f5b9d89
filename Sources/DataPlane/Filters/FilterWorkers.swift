import CFilterABI
import Engine
import Telemetry

/// One filter's place on one worker: what `fl_worker *` points to.
@safe
struct FilterWorker {
  let worker: Ref<Worker>
  let table: UnsafePointer<fl_filter>
  var state: UnsafeMutableRawPointer?
  /// Timers that run, by their tickets.
  var timers: [UInt64: Ref<FilterWorkerTimer>] = [:]
}

/// A timer of a filter's worker that runs.
struct FilterWorkerTimer {
  let place: Ref<FilterWorker>
  let tag: UInt64
  var ticket: UInt64 = 0
}

/// The functions of the filter door that work outside any stream.
enum FilterWorkers {
  static func fill(_ host: inout fl_host) {
    unsafe host.worker_timer_start = { raw, milliseconds, tag in
      guard let raw = unsafe raw else { return 0 }
      let place = unsafe Ref<FilterWorker>(raw: UnsafeMutableRawPointer(raw))
      let timer = Ref.immortal(FilterWorkerTimer(place: place, tag: tag))
      let id = unsafe place.value.worker.value.loop.after(
        milliseconds: milliseconds, context: timer.raw
      ) { raw, _ in
        let timer = unsafe Ref<FilterWorkerTimer>(raw: raw)
        let (place, tag) = (timer.value.place, timer.value.tag)
        place.value.timers[timer.value.ticket] = nil
        timer.destroy()
        guard let callback = unsafe place.value.table.pointee.on_worker_timer else { return }
        unsafe callback(place.value.state, tag)
      }
      timer.value.ticket = id.ticket
      place.value.timers[id.ticket] = timer
      return id.ticket
    }
    unsafe host.worker_timer_cancel = { raw, ticket in
      guard let raw = unsafe raw else { return }
      let place = unsafe Ref<FilterWorker>(raw: UnsafeMutableRawPointer(raw))
      place.cancelTimer(ticket)
    }
    unsafe host.worker_counter_add = { raw, stat, n in
      guard let raw = unsafe raw, stat != UInt32.max else { return }
      let place = unsafe Ref<FilterWorker>(raw: UnsafeMutableRawPointer(raw))
      place.value.worker.value.stats.add(CounterID(index: stat), n)
    }
  }

  /// The filter's configuration goes: so do its timers and what it kept.
  private static func end(_ place: Ref<FilterWorker>) {
    for ticket in place.value.timers.keys { place.cancelTimer(ticket) }
    guard let state = unsafe place.value.state,
      let free = unsafe place.value.table.pointee.worker_free
    else { return }
    unsafe free(state)
  }

  /// Makes the places of filters on one worker, in the memory that is open.
  static func make(
    _ filters: [LoadedFilter], on worker: Ref<Worker>
  ) -> Table<Ref<FilterWorker>> {
    .configured(
      filters.map { filter in
        let place = unsafe Ref<FilterWorker>.configured(
          FilterWorker(worker: worker, table: filter.table, state: nil))
        if let make = unsafe filter.table.pointee.worker_new {
          unsafe place.value.state = make(filter.config, OpaquePointer(place.raw))
        }
        ResourceMemory.atEnd { end(place) }
        return place
      })
  }
}

extension Ref where Value == FilterWorker {
  /// Nothing happens when the timer has fired.
  fileprivate func cancelTimer(_ ticket: UInt64) {
    guard let timer = value.timers.removeValue(forKey: ticket) else { return }
    value.worker.value.loop.cancel(TimerID(ticket: ticket))
    timer.destroy()
  }
}
