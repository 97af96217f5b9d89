import Telemetry
import Testing

@Suite("XXH64")
struct XXHash64Tests {
  /// The first three are the reference's; the others are how Envoy 1.40 shows them, without the highest
  /// bit.
  @Test(
    "hashes as the reference does",
    arguments: [
      ("", 0x6F46_DB37_51D8_E999), ("a", 0x524E_C4F1_A98C_6E5B), ("abc", 0x44BC_2CF5_AD77_0999),
      ("2", 6_927_017_134_761_466_251), ("5", 7_674_613_650_421_074_157),
      (
        "an extremely fast hash, of more than thirty-two bytes in all", 2_584_114_971_602_793_426
      ),
    ] as [(String, UInt64)])
  func reference(text: String, hash: UInt64) {
    #expect(XXHash64.hash(text) & UInt64(Int64.max) == hash)
  }
}
