import CLinux
import Engine
import GRPC
import Glibc
import MeshAnalysis
import MeshModel
import MeshTranslation

/// Looks at the mesh as a whole after it has changed: on a thread of its own, so that no client waits for
/// it, and one look at a time. Belongs to one loop.
final class MeshAnalyst {
  /// What the last look has found.
  struct Findings: Sendable {
    var messages: [AnalysisMessage] = [] {
      didSet {
        byObject = Dictionary(grouping: messages.filter { $0.object != nil }) { $0.object }
      }
    }
    private var byObject: [ObjectID?: [AnalysisMessage]] = [:]
    /// How long it took.
    var seconds = 0.0
    /// When, in nanoseconds since 1970; 0: never.
    var at: UInt64 = 0

    /// What is told of one object.
    func messages(of id: ObjectID) -> [AnalysisMessage] { byObject[id] ?? [] }
  }

  private let loop: EventLoop
  private let timer: LoopTimer
  private let work: () -> Work
  private(set) var findings = Findings()
  private(set) var runs: UInt64 = 0
  /// Something has changed since the last look began.
  private(set) var isStale = true
  private var isRunning = false

  /// What is looked at.
  struct Work: Sendable {
    var input: AnalysisInput
    var files: [String: [UInt8]]
  }

  /// Changes come in groups, and a look is for people: it is taken when there was quiet, and where there
  /// never is, from time to time.
  private static let patience: FileWatch.Debounce = {
    var patience = FileWatch.Debounce()
    patience.quietMilliseconds = 200
    patience.longestMilliseconds = 5000
    return patience
  }()
  /// When the first change came that was not looked at; 0 while there is none.
  private var firstAt: UInt64 = 0

  /// - Parameter work: what there is to look at when it is asked.
  init(on loop: EventLoop, work: @escaping () -> Work) {
    self.loop = loop
    self.work = work
    timer = LoopTimer(on: loop)
  }

  /// Something has changed; it is looked at soon.
  func changed() {
    isStale = true
    let now = fl_monotonic_ns()
    if firstAt == 0 { firstAt = now }
    let wait = Self.patience.wait(after: (now - firstAt) / 1_000_000)
    timer.set(milliseconds: wait) { [unowned self] in start() }
  }

  private func start() {
    firstAt = 0
    // What runs was begun before the change: another look follows.
    guard !isRunning else { return }
    isRunning = true
    isStale = false
    let job = Job(work(), loop.mailbox) { [weak self] in self?.finished($0) }
    guard job.start() else {
      // No thread is to be had now; the next change tries again.
      isRunning = false
      isStale = true
      return
    }
  }

  private func finished(_ found: Findings) {
    isRunning = false
    findings = found
    runs += 1
    if isStale { changed() }
  }

  /// One look.
  private final class Job: @unchecked Sendable {
    // `@unchecked`: `finished` is called on the loop's thread alone, where it was made; the rest does not
    // change. The thread sanitizer's run of the end-to-end tests would catch a breach.
    private let work: Work
    private let mailbox: Mailbox
    private let finished: (Findings) -> Void

    init(_ work: Work, _ mailbox: Mailbox, finished: @escaping (Findings) -> Void) {
      self.work = work
      self.mailbox = mailbox
      self.finished = finished
    }

    func start() -> Bool {
      var thread = pthread_t()
      // SAFETY: the thread takes over the reference that is retained here.
      let raw = unsafe Unmanaged.passRetained(self).toOpaque()
      let status = unsafe pthread_create(
        &thread, nil,
        { raw in
          guard let raw = unsafe raw else { return nil }
          fl_block_signals()
          _ = unsafe fl_set_thread_name("analysis")
          unsafe Unmanaged<Job>.fromOpaque(raw).takeRetainedValue().run()
          return nil
        }, raw)
      guard status == 0 else {
        unsafe Unmanaged<Job>.fromOpaque(raw).release()
        return false
      }
      pthread_detach(thread)
      return true
    }

    private func run() {
      let started = fl_monotonic_ns()
      var found = Findings()
      found.messages = Analysis.locate(Analysis.run(work.input), in: work.files)
      found.seconds = Double(fl_monotonic_ns() - started) / 1e9
      found.at = fl_realtime_ns()
      let result = found
      mailbox.post { [self] _ in finished(result) }
    }
  }
}
