import HTTPModel

/// How much one peer may make us do that serves nobody. It is told frames and the time, and says when
/// it is enough; Envoy's bounds where Envoy has one (`http2_protocol_options`).
package struct HTTP2Budget {
  /// What a peer has done too much of.
  package enum Offence: UInt8, Equatable {
    case none
    /// Frames with nothing in them that end nothing.
    case emptyFrames
    /// Pieces of one header section (CVE-2024-27316).
    case continuations
    case priorityFrames
    case windowUpdates
    /// PING, SETTINGS and other frames that we have to answer or look at.
    case controlFrames
    /// Frames that wait for a peer that does not read.
    case outboundFrames
    /// Streams that the peer opens and resets (CVE-2023-44487).
    case resets
    /// Streams that the peer makes us reset (CVE-2025-8671).
    case provokedResets
    /// A header section that unpacks into far more than we take.
    case headerBomb
    /// A message that is none (RFC 9113 §8.1.1), where the configuration ends connections for it.
    case messaging
    /// A frame on a stream that is closed or was left out.
    case streamState
  }

  /// The configured bounds; those that stand here are for owners that nobody configures.
  package struct Limits: BitwiseCopyable {
    package var emptyFrames: UInt32 = 1
    package var priorityFramesPerStream: UInt32 = 100
    package var windowUpdatesPerDataFrame: UInt32 = 10
    package var outboundFrames: UInt32 = 10_000
    package var outboundControlFrames: UInt32 = 1000

    package init() {}
  }

  private let limits: Limits
  private var streams: UInt64 = 0
  private var emptyRun: UInt32 = 0
  private var continuationRun: UInt32 = 0
  private var priorityFrames: UInt64 = 0
  private var windowUpdates: UInt64 = 0
  private var sentDataFrames: UInt64 = 0
  private var controlFrames: Allowance
  private var provokedResets: Allowance
  private var endedStreams: UInt64 = 0
  private var prematureResets: UInt64 = 0

  package init(_ limits: Limits) {
    self.limits = limits
    controlFrames = Allowance(
      most: HTTPModel.Limits.controlFrames, perSecond: HTTPModel.Limits.controlFramesPerSecond)
    provokedResets = Allowance(
      most: HTTPModel.Limits.provokedResets, perSecond: HTTPModel.Limits.provokedResetsPerSecond)
  }

  /// A frame's head has come. Numbers are those of RFC 9113 §6.
  package mutating func received(
    type: UInt8, flags: UInt8, length: Int, at now: UInt64
  ) -> Offence {
    continuationRun = type == 9 ? continuationRun &+ 1 : 0
    guard continuationRun <= HTTPModel.Limits.continuationFrames else { return .continuations }
    switch type {
    case 0, 1, 9:
      let endsStream = type != 9 && flags & 1 != 0
      if length == 0, !endsStream {
        emptyRun &+= 1
        return emptyRun > limits.emptyFrames ? .emptyFrames : .none
      }
      emptyRun = 0
      // Whoever transfers something may ask for a ping in between.
      controlFrames.earn(1)
      return .none
    case 2:
      priorityFrames &+= 1
      let most = UInt64(limits.priorityFramesPerStream) &* (1 &+ streams)
      return priorityFrames > most ? .priorityFrames : .none
    case 8:
      windowUpdates &+= 1
      let earned = UInt64(limits.windowUpdatesPerDataFrame) &* sentDataFrames
      return windowUpdates > 5 &+ 2 &* (streams &+ earned) ? .windowUpdates : .none
    default: return controlFrames.spend(at: now) ? .none : .controlFrames
    }
  }

  /// A stream has been opened, by whichever side opens them.
  package mutating func openedStream() { streams &+= 1 }

  /// A DATA frame has left.
  package mutating func sentData() {
    sentDataFrames &+= 1
    controlFrames.earn(1)
  }

  /// We had to reset a stream for what the peer did on it.
  package mutating func provokedReset(at now: UInt64) -> Offence {
    provokedResets.spend(at: now) ? .none : .provokedResets
  }

  /// A stream has ended.
  /// - Parameter isPremature: the peer reset it soon after it had opened it, before its answer.
  package mutating func streamEnded(isPremature: Bool) -> Offence {
    endedStreams &+= 1
    guard isPremature else { return .none }
    prematureResets &+= 1
    let isMost = prematureResets &* 2 > endedStreams
    return isMost && prematureResets >= HTTPModel.Limits.prematureResets ? .resets : .none
  }

  /// So many frames wait to be sent.
  package func waiting(_ frames: Int) -> Offence {
    frames > Int(limits.outboundFrames) ? .outboundFrames : .none
  }
}

/// A number that is spent by ones and comes back with time.
private struct Allowance {
  private let most: UInt64
  private let perSecond: UInt64
  private var left: UInt64
  private var since: UInt64 = 0

  init(most: UInt64, perSecond: UInt64) {
    self.most = most
    self.perSecond = perSecond
    left = most
  }

  mutating func earn(_ n: UInt64) { left = min(most, left &+ n) }

  /// - Parameter now: monotonic nanoseconds.
  mutating func spend(at now: UInt64) -> Bool {
    if since == 0 { since = now }
    let seconds = (now &- since) / 1_000_000_000
    if seconds > 0 {
      since = now
      left = min(most, left &+ min(seconds, most) &* perSecond)
    }
    guard left > 0 else { return false }
    left &-= 1
    return true
  }
}
