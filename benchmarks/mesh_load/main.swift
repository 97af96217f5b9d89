// Simulates proxies for benchmarks/mesh, and changes endpoints under them. What it finds is printed, a
// line of JSON each; times are of the monotonic clock.

import CLinux
import Engine
import GRPC

/// A load: all of its proxies, on one loop.
final class Load {
  private let options: Options
  private let loop = EventLoop()
  private let runtime: RPCRuntime
  private var proxies: [SimulatedProxy] = []
  private let timer: LoopTimer
  private var inSync = 0
  private var change = 0
  private var waiting = 0
  private var changedAt: UInt64 = 0
  private var latencies: [Double] = []

  init(_ options: Options) {
    self.options = options
    runtime = RPCRuntime(loop: loop)
    timer = LoopTimer(on: loop)
  }

  func run() {
    for number in 0..<options.proxies {
      let proxy = SimulatedProxy(
        runtime, options, number: number, onSync: { [unowned self] in synced() },
        onNotice: { [unowned self] in noticed() })
      proxies.append(proxy)
      proxy.start()
    }
    timer.set(milliseconds: UInt64(options.patience) * 1000) { [unowned self] in
      print("{\"gave_up\": true, \"in_sync\": \(inSync), \"missing\": \(waiting)}")
      exit(1)
    }
    loop.run()
  }

  private func synced() {
    inSync += 1
    guard inSync == options.proxies else { return }
    let bytes = proxies.reduce(0) { $0 + $1.receivedBytes }
    let messages = proxies.reduce(0) { $0 + $1.receivedMessages }
    print(
      "{\"in_sync_at_ns\": \(fl_monotonic_ns()), \"bytes\": \(bytes), \"responses\": \(messages)}")
    // All streams: standard output alone is a variable, which is not safe to name.
    fflush(nil)
    guard !options.directory.isEmpty, options.changes > 0 else { exit(0) }
    next()
  }

  // MARK: Changes

  /// An endpoint comes, and the next time it goes.
  private func next() {
    let number = change / 2 * 37 % options.services
    let isWanted = change % 2 == 0
    let namespace = "ns\(number % options.namespaces)"
    let cluster = "outbound|80||svc\(number).\(namespace).svc.cluster.local"
    let marker = "127.77.7.\(change / 2 % 200 + 1)"
    waiting = proxies.count
    for proxy in proxies {
      proxy.watch(cluster, for: Array(marker.utf8), isWanted: isWanted)
    }
    let path = options.directory + "/endpoint.yaml"
    let text =
      isWanted
      ? """
      apiVersion: v1
      kind: Pod
      metadata: {name: extra-\(change), namespace: \(namespace), labels: {app: svc\(number), version: v1}}
      status: {podIP: \(marker), phase: Running}

      """ : "\n"
    // Beside the directory, so that only the rename is seen in it.
    let temporary = options.directory + ".endpoint"
    guard let file = unsafe fopen(temporary, "w") else { exit(1) }
    unsafe fputs(text, file)
    unsafe fclose(file)
    changedAt = fl_monotonic_ns()
    guard unsafe rename(temporary, path) == 0 else { exit(1) }
  }

  private func noticed() {
    waiting -= 1
    guard waiting == 0 else { return }
    let milliseconds = Double(fl_monotonic_ns() - changedAt) / 1e6
    latencies.append(milliseconds)
    change += 1
    guard change < options.changes else {
      print("{\"changes_ms\": \(latencies)}")
      exit(0)
    }
    // Behind a pause, so that every change is one of its own.
    pause.set(milliseconds: 60) { [unowned self] in next() }
  }

  private lazy var pause = LoopTimer(on: loop)
}

guard let options = Options(CommandLine.arguments.dropFirst()) else {
  print("usage: mesh-load [--port N] [--proxies N] [--variant sotw|delta|both] [--directory PATH]")
  exit(2)
}
Load(options).run()
