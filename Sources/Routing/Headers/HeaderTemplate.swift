import Engine
import HTTPModel
import Resources
import Telemetry

/// The value of an added field: text, or a format with access-log operators. An operator without a
/// value is left out, so that a field made of nothing else stays away.
struct HeaderTemplate: BitwiseCopyable {
  /// The whole value, when there is no operator in it.
  let literal: Bytes?
  private let format: Ref<LogFormat>?

  /// Compiles a value; nil, and a diagnostic, when that is not possible.
  init?(_ text: String, at path: ConfigPath, _ diagnostics: Diagnostics) {
    let options = FormatCompiler.options(omitEmptyValues: true)
    do throws(LogFormatError) {
      let compiled = try LogFormat.text(text, options)
      ResourceMemory.atEnd { compiled.deallocate() }
      literal = compiled.constant.map(Bytes.init)
      format = literal == nil ? .configured(compiled) : nil
    } catch {
      diagnostics.error(at: path, error.description)
      return nil
    }
  }

  /// Appends the value for one exchange, whose `part` is `headers`. Says how long it is, or nil
  /// when it does not fit.
  func write<Source: LogSource>(
    of part: HeadPart, _ headers: borrowing HeaderMap, _ source: Source, _ renderer: LogRenderer,
    appendingTo block: Block
  ) -> Int? {
    guard let format else { return 0 }
    let room = block.capacity &- block.used
    // SAFETY: the sink writes to the free part of the block.
    var sink = unsafe ByteSink(base: block.base + block.used, capacity: room)
    let fits = unsafe withUnsafePointer(to: headers) { pointer in
      let edited = unsafe EditedHead(base: source, part: part.logHeaders, headers: pointer)
      return format.value.render(edited, with: renderer, into: &sink)
    }
    guard fits else { return nil }
    block.used &+= sink.count
    return sink.count
  }
}

/// An exchange of which one head is being changed: that head is lent, and everything else is asked
/// of the exchange itself, which must not look at the head meanwhile.
@safe
private struct EditedHead<Base: LogSource>: LogSource {
  let base: Base
  let part: LogHeaders
  /// SAFETY: lent by `HeaderTemplate.write` for as long as this value is used.
  let headers: UnsafePointer<HeaderMap>

  func header(_ headers: LogHeaders, _ name: LogHeaderName) -> LogBytes? {
    guard headers == part else { return base.header(headers, name) }
    let text = Bytes(name.bytes)
    let id = HeaderID(rawValue: name.known)
    guard let index = unsafe self.headers.pointee.find(text, id: id) else { return nil }
    return unsafe LogBytes(self.headers.pointee.value(index))
  }

  func value(of field: LogField, scratch: inout ByteSink) -> LogValue {
    base.value(of: field, scratch: &scratch)
  }

  func time(of point: LogTimePoint) -> UInt64? { base.time(of: point) }

  var startTime: UInt64 { base.startTime }

  var now: UInt64 { base.now }

  var responseFlags: ResponseFlags { base.responseFlags }

  func metadata(_ kind: LogMetadata, _ path: LogPath, scratch: inout ByteSink) -> LogValue {
    base.metadata(kind, path, scratch: &scratch)
  }
}

extension Bytes {
  /// The same bytes, for who lends them.
  package init(_ bytes: LogBytes) {
    if let start = unsafe bytes.start {
      unsafe self.init(base: start, count: bytes.count)
    } else {
      self = .empty
    }
  }
}

extension LogBytes {
  /// The same bytes, as formats see them.
  package init(_ bytes: Bytes) { unsafe self.init(start: bytes.base, count: bytes.count) }
}
