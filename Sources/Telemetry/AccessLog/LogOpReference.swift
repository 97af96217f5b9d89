/// An operation where it lies. Rendering reads the few members it needs; a copy of all of them for
/// every operation would cost more than the rest of the work.
@usableFromInline
@safe
package struct LogOpReference {
  // SAFETY: made by `LogFormat` for one step of rendering, while the format exists.
  @usableFromInline let op: UnsafePointer<LogOp>

  @inlinable
  init(_ op: UnsafePointer<LogOp>) { unsafe self.op = op }

  @inlinable var code: LogOp.Code { unsafe op.pointee.code }
  @inlinable var mode: LogOp.Mode { unsafe op.pointee.mode }
  @inlinable var field: LogField { unsafe op.pointee.field }
  @inlinable var headers: LogHeaders { unsafe op.pointee.headers }
  @inlinable var metadata: LogMetadata { unsafe op.pointee.metadata }
  @inlinable var from: LogTimePoint { unsafe op.pointee.from }
  @inlinable var to: LogTimePoint { unsafe op.pointee.to }
  @inlinable var clock: LogOp.Clock { unsafe op.pointee.clock }
  @inlinable var grpcStyle: LogOp.GRPCStyle { unsafe op.pointee.grpcStyle }
  @inlinable var detail: UInt8 { unsafe op.pointee.detail }
  @inlinable var known: UInt8 { unsafe op.pointee.known }
  @inlinable var knownSecond: UInt8 { unsafe op.pointee.knownSecond }
  @inlinable var scale: UInt32 { unsafe op.pointee.scale }
  @inlinable var limit: UInt32 { unsafe op.pointee.limit }
  @inlinable var first: LogOp.Slice { unsafe op.pointee.first }
  @inlinable var second: LogOp.Slice { unsafe op.pointee.second }
  @inlinable var tail: LogOp.Slice { unsafe op.pointee.tail }
  @inlinable var keyBytes: UInt32 { unsafe op.pointee.keyBytes }
}
