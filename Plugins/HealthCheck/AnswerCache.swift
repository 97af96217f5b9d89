import FilterSDK

/// The application's latest answer to a health check, for all workers: whichever worker is asked,
/// the application is bothered once in a while only.
struct AnswerCache: BitwiseCopyable {
  struct Answer: Equatable {
    var status: Int
    var isDegraded: Bool
  }

  let milliseconds: UInt64
  /// Until when it holds in milliseconds, then 1 bit for degraded, then 15 for the status. In one
  /// number, so that no worker ever sees halves of two answers.
  let cell: SharedNumber

  /// The answer, while it holds.
  func answer(now: UInt64) -> Answer? {
    let packed = cell.value
    guard packed >> 16 > now / 1_000_000 else { return nil }
    return Answer(status: Int(packed & 0x7FFF), isDegraded: packed & 0x8000 != 0)
  }

  /// Keeps an answer. `now` is in nanoseconds.
  func keep(_ answer: Answer, now: UInt64) {
    // 48 bits of milliseconds are 8,900 years; a cache time beyond them is for ever.
    let until = min(now / 1_000_000 &+ min(milliseconds, 1 << 47), (1 << 48) - 1)
    let status = UInt64(clamping: answer.status) & 0x7FFF
    cell.store(until << 16 | (answer.isDegraded ? 0x8000 : 0) | status)
  }
}
