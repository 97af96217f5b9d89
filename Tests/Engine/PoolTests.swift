import Engine
import Testing

private struct Slot: Pooled, ~Copyable {
  var generation: UInt32 = 0
  var nextFree: Ref<Slot>?
  var text = 0

  init() {}
}

@Suite("Slots")
struct PoolTests {
  @Test("slots are distinct, across pages too")
  func distinct() {
    var pool = Pool<Slot>(pageCount: 4)
    let slots = (0..<10).map { _ in pool.take() }
    #expect(Set(slots.map { UInt(bitPattern: $0.raw) }).count == 10)
    #expect(pool.live == 10)
    for slot in slots { pool.release(slot) }
    #expect(pool.live == 0)
  }

  @Test("the slot released last is taken first")
  func warm() {
    var pool = Pool<Slot>()
    let first = pool.take()
    let second = pool.take()
    pool.release(first)
    pool.release(second)
    #expect(pool.take() == second)
    #expect(pool.take() == first)
  }

  @Test("a weak handle notices that its slot has been released, even when it is taken again")
  func weak() {
    var pool = Pool<Slot>()
    let slot = pool.take()
    let handle = Weak(slot)
    #expect(handle.ref == slot)
    pool.release(slot)
    #expect(handle.ref == nil)
    #expect(pool.take() == slot)
    #expect(handle.ref == nil)
    #expect(Weak(slot).ref == slot)
  }
}

@Suite("Tables")
struct TableTests {
  @Test("a table is what it was made from, and its parts are views of it")
  func parts() {
    let table = Table.immortal([1, 2, 3, 4])
    #expect(table.array == [1, 2, 3, 4])
    #expect(table[1, 3].array == [2, 3])
    #expect(table[4, 4].isEmpty)
    #expect(Table<Int>.immortal([]).isEmpty)
    #expect(Table<Int>.empty[0, 0].isEmpty)
  }
}

@Suite("Random numbers")
struct RandomTests {
  @Test("a seed repeats, another differs")
  func seeded() {
    var a = Random(seed: 1)
    var b = Random(seed: 1)
    var c = Random(seed: 2)
    let numbers = (0..<5).map { _ in a.next() }
    #expect(numbers == (0..<5).map { _ in b.next() })
    #expect(numbers != (0..<5).map { _ in c.next() })
  }

  @Test(
    "a bound is never reached, and all below it are, evenly", arguments: [1, 2, 7, 100] as [UInt64])
  func bounded(bound: UInt64) {
    var random = Random(seed: 3)
    var counts = [Int](repeating: 0, count: Int(bound))
    for _ in 0..<Int(bound) * 1000 { counts[Int(random.next(below: bound))] += 1 }
    for count in counts { #expect((800...1200).contains(count)) }
  }
}
