import Engine
import HTTPModel
import ResourceModel
import Resources
import Routing
import Telemetry

/// `local_reply_config`, compiled: how responses made by the proxy are changed.
struct LocalReplyConfig {
  struct Mapper {
    let filter: AccessLogFilter
    let status: Int?
    let body: Bytes?
    let format: ReplyFormat?
    let fields: HeaderMutations
  }

  let mappers: Table<Ref<Mapper>>
  let format: ReplyFormat?
}

/// Compiles `local_reply_config`.
struct LocalReplyCompiler {
  let context: CompileContext

  private var formats: FormatCompiler { FormatCompiler(context.diagnostics) }

  func compile(
    _ message: Envoy_Extensions_Filters_Network_HttpConnectionManager_V3_LocalReplyConfig,
    at path: ConfigPath
  ) -> Ref<LocalReplyConfig> {
    let mappers = message.mappers.enumerated().compactMap { index, mapper in
      compile(mapper, at: path.field("mappers").index(index))
    }
    return .configured(
      LocalReplyConfig(
        mappers: .configured(mappers),
        format: message.hasBodyFormat
          ? formats.reply(message.bodyFormat, at: path.field("body_format")) : nil))
  }

  private func compile(
    _ message: Envoy_Extensions_Filters_Network_HttpConnectionManager_V3_ResponseMapper,
    at path: ConfigPath
  ) -> Ref<LocalReplyConfig.Mapper>? {
    let logs = AccessLogCompiler(context: context)
    guard let filter = logs.filter(message.filter, at: path.field("filter")) else { return nil }
    var body: Bytes?
    if message.hasBody {
      let bytes = DataSourceReader.read(
        message.body, atMost: 64 * 1024, at: path.field("body"), context.diagnostics)
      body = bytes.map { .configured(String(decoding: $0, as: UTF8.self)) }
    }
    return .configured(
      LocalReplyConfig.Mapper(
        filter: filter, status: message.hasStatusCode ? Int(message.statusCode.value) : nil,
        body: body,
        format: message.hasBodyFormatOverride
          ? formats.reply(message.bodyFormatOverride, at: path.field("body_format_override")) : nil,
        fields: HeaderMutations(
          adding: message.headersToAdd, removing: [], of: .response, at: path, prefix: "",
          context.diagnostics)))
  }
}

/// A local reply's body in its configured form.
struct ReplyText {
  let block: Block
  let bytes: Bytes
  let contentType: Bytes
}

extension Ref where Value == RequestStream {
  /// What the configuration makes of a local reply: its status, and its body when that changes.
  func applyLocalReplyConfig(status: Int, body: Bytes) -> (Int, ReplyText?) {
    guard let config = manager.value.localReplies, value.call == nil else { return (status, nil) }
    value.status = status
    var result = status
    var text = body
    var format = config.value.format
    for index in 0..<config.value.mappers.count {
      let mapper = config.value.mappers[index]
      guard mapper.value.filter.passes(StreamLogSource(self)) else { continue }
      result = mapper.value.status ?? result
      text = mapper.value.body ?? text
      format = mapper.value.format ?? format
      let state = loop.state
      mapper.value.fields.apply(
        to: &value.responseHead, StreamLogSource(self), worker.value.renderer,
        pool: &state.value.blocks)
      break
    }
    value.status = result
    value.localReplyBody = text
    defer { value.localReplyBody = .empty }
    guard let format else {
      guard text.count != body.count || !(text == body) else { return (result, nil) }
      return (result, copy(text, contentType: Bytes("text/plain")))
    }
    return (result, render(format))
  }

  private func copy(_ text: Bytes, contentType: Bytes) -> ReplyText? {
    let block = loop.state.value.blocks.take(min(max(text.count, 1), BlockPool.largest))
    _ = block.append(text)
    return ReplyText(block: block, bytes: block.bytes(), contentType: contentType)
  }

  private func render(_ format: ReplyFormat) -> ReplyText {
    let block = render(format.format.value)
    return ReplyText(block: block, bytes: block.bytes(), contentType: format.contentType)
  }

  /// A format's text, with `body` for %LOCAL_REPLY_BODY%; the caller releases the block.
  func render(_ format: LogFormat, body: Bytes) -> Block {
    value.localReplyBody = body
    value.status = value.replyStatus
    defer { value.localReplyBody = .empty }
    return render(format)
  }

  private func render(_ format: LogFormat) -> Block {
    let block = loop.state.value.blocks.take(BlockPool.largest)
    var sink = unsafe ByteSink(base: block.base, capacity: block.capacity)
    _ = format.render(StreamLogSource(self), with: worker.value.renderer, into: &sink)
    block.used = sink.count
    return block
  }

  func release(_ text: ReplyText) { loop.state.value.blocks.release(text.block) }
}
