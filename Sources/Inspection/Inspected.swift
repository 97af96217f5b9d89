/// What the first bytes of a connection say about it.
package enum Inspected<Finding: BitwiseCopyable>: BitwiseCopyable {
  /// More bytes are needed to tell.
  case incomplete
  /// Something else is spoken.
  case absent
  /// It began as it should and went wrong.
  case malformed
  case found(Finding)
}
