import Engine

/// Numbers for things that come and go, each given to the next when its owner has gone. Main thread.
final class PlaceNumbers {
  private var free: [Int] = []
  private var count = 0

  /// A number for as long as the resource lasts that is being compiled.
  func takeForResource() -> Int {
    let number = free.popLast() ?? count
    if number == count { count += 1 }
    ResourceMemory.atEnd { [weak self] in self?.free.append(number) }
    return number
  }
}
