import CFilterABI
import Engine

/// A timer or call that a filter has under way. It never outlives its filter's turn on the stream.
struct FilterTicket: ~Copyable, Pooled {
  var generation: UInt32 = 0
  var nextFree: Ref<FilterTicket>?

  var slot: Ref<FilterSlot>?
  var next: Ref<FilterTicket>?
  var previous: Ref<FilterTicket>?
  var id: UInt64 = 0
  var tag: UInt64 = 0
  /// Stays with the slot: the next ticket finds it armed.
  var timer = LazyTimer()
  /// When its filter's timer is due, in milliseconds on the loop's clock; nil is never.
  var due: UInt64?
  var call: Weak<InternalCall>?
}

extension Ref where Value == RequestStream {
  /// Arms a timer for the filter in `slot`.
  func startTimer(for slot: Ref<FilterSlot>, milliseconds: UInt64, tag: UInt64) -> UInt64 {
    let ticket = newTicket(for: slot)
    ticket.value.tag = tag
    // Sooner than for ever, so that a number from a filter cannot leave the clock.
    let milliseconds = min(milliseconds, 1 << 40)
    ticket.value.due = loop.now / 1_000_000 &+ milliseconds
    ticket.ensureTimer(within: milliseconds, on: loop)
    return ticket.value.id
  }

  func newTicket(for slot: Ref<FilterSlot>) -> Ref<FilterTicket> {
    let ticket = worker.value.tickets.take()
    ticket.value.slot = slot
    ticket.value.id = worker.value.nextTicketID()
    ticket.value.next = slot.value.tickets
    slot.value.tickets?.value.previous = ticket
    slot.value.tickets = ticket
    return ticket
  }

  /// Cancels one timer or call; nothing happens when it is over already.
  func cancelTicket(_ id: UInt64, of slot: Ref<FilterSlot>) {
    var current = slot.value.tickets
    while let ticket = current {
      guard ticket.value.id != id else { return release(ticket, of: slot) }
      current = ticket.value.next
    }
  }

  func cancelTickets(of slot: Ref<FilterSlot>) {
    while let ticket = slot.value.tickets { release(ticket, of: slot) }
  }

  fileprivate func release(_ ticket: Ref<FilterTicket>, of slot: Ref<FilterSlot>) {
    if let call = ticket.value.call?.ref { call.cancel() }
    unlink(ticket, of: slot)
  }

  fileprivate func unlink(_ ticket: Ref<FilterTicket>, of slot: Ref<FilterSlot>) {
    if let previous = ticket.value.previous {
      previous.value.next = ticket.value.next
    } else {
      slot.value.tickets = ticket.value.next
    }
    ticket.value.next?.value.previous = ticket.value.previous
    ticket.value.next = nil
    ticket.value.previous = nil
    ticket.value.slot = nil
    ticket.value.due = nil
    ticket.value.call = nil
    worker.value.tickets.release(ticket)
  }
}

extension Ref where Value == FilterTicket {
  fileprivate func ensureTimer(within milliseconds: UInt64, on loop: EventLoop) {
    unsafe value.timer.ensure(within: milliseconds, on: loop, context: raw) { raw, _ in
      unsafe Ref<FilterTicket>(raw: raw).fired()
    }
  }

  private func fired() {
    value.timer.fired()
    guard let slot = value.slot, let due = value.due else { return }
    let stream = slot.value.stream
    let now = stream.loop.now / 1_000_000
    guard now > due else { return ensureTimer(within: due - now, on: stream.loop) }
    let tag = value.tag
    stream.unlink(self, of: slot)
    guard slot.value.isEnabled, let callback = unsafe slot.value.entry.value.table.onTimer else {
      return
    }
    unsafe stream.call(slot) { unsafe callback($0, $1, $2, tag) }
    stream.settleOutsideChain(at: slot)
  }

  /// The filter's own request has ended.
  func finished(_ result: fl_call_result) {
    guard let slot = value.slot else { return }
    let stream = slot.value.stream
    let id = value.id
    value.call = nil
    stream.unlink(self, of: slot)
    guard slot.value.isEnabled, let callback = unsafe slot.value.entry.value.table.onCall else {
      return
    }
    var result = unsafe result
    unsafe stream.call(slot) { state, config, raw in
      unsafe withUnsafePointer(to: &result) { unsafe callback(state, config, raw, id, $0) }
    }
    stream.settleOutsideChain(at: slot)
  }
}
