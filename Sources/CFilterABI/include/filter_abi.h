#pragma once
// The one door between the proxy and its HTTP filters: a table of functions that the filter offers
// (`fl_filter`) and one that the host offers (`fl_host`). Built-in modules, users' shared objects and
// script hosts all come through it, so it says everything that a filter may do.
//
// Rules that hold everywhere:
//  - One thread runs a stream. A callback never runs inside another callback of the same filter.
//  - `fl_bytes` lent by the host are valid until the callback returns or the same head or body is
//    changed; those lent to the host are copied before its function returns.
//  - Names of fields are lower-case. Pseudo fields are :method, :path, :authority, :scheme, :status.
//  - After `on_end` nothing of the stream is touched again: its timers and calls are cancelled, and
//    its state's memory is the host's again.
//  - Tables grow at their end only, and say their size: a field beyond `size` is absent.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FL_ABI_MAJOR 0u
#define FL_ABI_MINOR 4u

typedef struct fl_bytes {
  const uint8_t *data;
  size_t count;
} fl_bytes;

/// One filter's place on one stream.
typedef struct fl_stream fl_stream;
/// One filter's place on one worker.
typedef struct fl_worker fl_worker;
/// The loading of one filter's configuration.
typedef struct fl_config fl_config;
/// A node of a configuration document; 0 is no node.
typedef uint32_t fl_node;
/// Names a timer or a call of one stream; 0 is none.
typedef uint64_t fl_ticket;
/// A statistic defined while loading; UINT32_MAX is none.
typedef uint32_t fl_stat;

/// Which head, body or trailers a host function speaks of.
typedef enum fl_part {
  FL_REQUEST_HEAD = 0,
  FL_RESPONSE_HEAD = 1,
  FL_REQUEST_TRAILERS = 2,
  FL_RESPONSE_TRAILERS = 3,
} fl_part;

/// What becomes of the chain after a callback.
typedef enum fl_verdict {
  /// The next filter's turn.
  FL_CONTINUE = 0,
  /// The chain waits here until `resume`; the head or the piece then goes on to the next filter and
  /// is not shown to this one again. What arrives meanwhile is held back by flow control: a bounded
  /// amount is kept, the rest stays with the peer.
  FL_STOP = 1,
  /// The chain waits here until the whole body has come, at most the buffer limit (else 413, or 500
  /// for a response); then the body callback is called once with all of it, if there is one, and the
  /// chain goes on.
  FL_BUFFER = 2,
  /// Body callbacks only: this piece goes no further.
  FL_DROP = 3,
  /// The filter called `reply` (or reset the stream); its own callbacks for this direction are over.
  /// A reply made on the request's side passes the response callbacks of every filter from this one
  /// outwards, this one's included.
  FL_REPLIED = 4,
  /// Response head only, and only for a filter with FL_MAY_REPLAY: throw this attempt away and,
  /// after the delay given to `replay_after`, run the filters behind this one again, as new
  /// instances, with the request as it was when it left this filter.
  FL_REPLAY = 5,
} fl_verdict;

/// Capabilities that a filter declares in `fl_filter.flags`.
enum {
  /// May answer FL_REPLAY; the host keeps the head, and the body as `retain_body` allows.
  FL_MAY_REPLAY = 1u << 0,
};

/// Why an attempt ended without a response of the upstream.
typedef enum fl_failure {
  FL_FAILURE_NONE = 0,
  FL_FAILURE_CONNECT = 1,
  FL_FAILURE_CONNECT_TIMEOUT = 2,
  /// The upstream reset or closed the connection; see `fl_attempt.request_started`.
  FL_FAILURE_RESET = 3,
  FL_FAILURE_OVERFLOW = 4,
  FL_FAILURE_PROTOCOL = 5,
  FL_FAILURE_PER_TRY_TIMEOUT = 6,
  FL_FAILURE_PER_TRY_IDLE_TIMEOUT = 7,
  FL_FAILURE_NO_HEALTHY_HOST = 8,
  FL_FAILURE_REFUSED_STREAM = 9,
  /// The cluster's `max_stream_duration` was reached.
  FL_FAILURE_MAX_DURATION = 10,
} fl_failure;

/// The latest attempt, as its end looks from the filter that may replay it.
typedef struct fl_attempt {
  uint32_t number;          ///< 1 for the first
  uint32_t failure;         ///< fl_failure
  bool request_started;     ///< any byte of the request may have reached the upstream
  bool response_started;    ///< a response head came from the upstream
  bool body_retained;       ///< the request's body can be sent again
  bool local_reply;         ///< the response was made by a filter or the router, not by the upstream
} fl_attempt;

/// Timeouts of the matched route, in milliseconds; 0 disables.
typedef struct fl_timeouts {
  uint64_t route_ms;
  uint64_t per_try_ms;
  uint64_t per_try_idle_ms;
  bool respect_expected_timeout;   ///< router: respect_expected_rq_timeout
  bool suppress_envoy_headers;     ///< router: suppress_envoy_headers
} fl_timeouts;

enum {
  FL_RETRY_5XX = 1u << 0,
  FL_RETRY_GATEWAY_ERROR = 1u << 1,
  FL_RETRY_RESET = 1u << 2,
  FL_RETRY_RESET_BEFORE_REQUEST = 1u << 3,
  FL_RETRY_CONNECT_FAILURE = 1u << 4,
  FL_RETRY_ENVOY_RATELIMITED = 1u << 5,
  FL_RETRY_RETRIABLE_4XX = 1u << 6,
  FL_RETRY_REFUSED_STREAM = 1u << 7,
  FL_RETRY_RETRIABLE_STATUS_CODES = 1u << 8,
  FL_RETRY_RETRIABLE_HEADERS = 1u << 9,
  FL_RETRY_HTTP3_POST_CONNECT_FAILURE = 1u << 10,
  FL_RETRY_GRPC_CANCELLED = 1u << 16,
  FL_RETRY_GRPC_DEADLINE_EXCEEDED = 1u << 17,
  FL_RETRY_GRPC_INTERNAL = 1u << 18,
  FL_RETRY_GRPC_RESOURCE_EXHAUSTED = 1u << 19,
  FL_RETRY_GRPC_UNAVAILABLE = 1u << 20,
};

/// A field from which a rate-limited retry reads how long to wait.
typedef struct fl_reset_header {
  fl_bytes name;
  bool unix_timestamp;   ///< else seconds
} fl_reset_header;

/// envoy.config.route.v3.RetryPolicy, checked and with its defaults.
typedef struct fl_retry_policy {
  uint32_t retry_on;                        ///< FL_RETRY_ bits
  uint32_t num_retries;
  bool has_num_retries;                     ///< false: 1, unless a request field says otherwise
  uint64_t per_try_timeout_ms;
  uint64_t per_try_idle_timeout_ms;
  uint64_t base_interval_ms;                ///< 25
  uint64_t max_interval_ms;                 ///< ten times the base
  const uint32_t *retriable_status_codes;
  size_t retriable_status_code_count;
  const void *retriable_headers;            ///< for `headers_match`, true for any; NULL is none
  const void *retriable_request_headers;    ///< for `headers_match`, true for any; NULL is none
  const fl_reset_header *reset_headers;
  size_t reset_header_count;
  uint64_t reset_max_interval_ms;           ///< 300,000
  bool avoid_previous_hosts;
  uint32_t host_selection_attempts;
} fl_retry_policy;

/// Numbers that `number` knows.
typedef enum fl_number {
  FL_MONOTONIC_NS = 0,
  FL_WALL_CLOCK_NS = 1,
  FL_RANDOM = 2,
  FL_RESPONSE_CODE = 3,
  FL_REQUEST_BODY_BYTES = 4,
  FL_RESPONSE_BODY_BYTES = 5,
  FL_ATTEMPT_COUNT = 6,
  FL_WORKER_INDEX = 7,
  FL_RESPONSE_FLAGS = 8,
  FL_IS_FAILING_HEALTH_CHECKS = 9,
  FL_IS_INTERNAL_REQUEST = 10,
  FL_BUFFER_LIMIT = 11,
  FL_DURATION_NS = 12,
  /// From the request's last byte to the upstream until now, or until the response's last byte from
  /// there; 0 while there is no answer of an upstream.
  FL_UPSTREAM_DURATION_NS = 13,
} fl_number;

/// Texts that `text` knows.
typedef enum fl_text {
  FL_UPSTREAM_CLUSTER = 0,      ///< chosen by the route, before any host is
  FL_ROUTE_NAME = 1,
  FL_DOWNSTREAM_REMOTE_ADDRESS = 2,   ///< without the port
  FL_DOWNSTREAM_LOCAL_ADDRESS = 3,
  FL_UPSTREAM_HOST = 4,
  FL_NODE_ID = 5,
  FL_NODE_CLUSTER = 6,
  FL_RESPONSE_CODE_DETAILS = 7,
  FL_VIRTUAL_HOST_NAME = 8,
} fl_text;

/// What the certificate that a client presented says of it.
typedef enum fl_peer_name {
  FL_PEER_URI = 0,        ///< one for each `index`; a SPIFFE ID is one of these
  FL_PEER_DNS = 1,
  FL_PEER_EMAIL = 2,
  FL_PEER_IP = 3,
  FL_PEER_SUBJECT = 4,    ///< as RFC 2253 writes names
  FL_PEER_ISSUER = 5,
  FL_PEER_SERIAL = 6,     ///< hexadecimal
  FL_PEER_DIGEST = 7,     ///< SHA-256 of the certificate, hexadecimal
} fl_peer_name;

/// What is known of the client.
typedef enum fl_peer {
  FL_PEER_PLAIN = 0,        ///< the connection is not secured
  FL_PEER_ANONYMOUS = 1,    ///< secured, without a certificate
  FL_PEER_PRESENTED = 2,    ///< with a certificate that nobody has verified
  FL_PEER_VERIFIED = 3,     ///< with one that the listener's rules have accepted
} fl_peer;

/// Response flags a filter may set; Envoy's letters.
typedef enum fl_flag {
  FL_FLAG_DELAY_INJECTED = 0,       // DI
  FL_FLAG_FAULT_INJECTED = 1,       // FI
  FL_FLAG_RATE_LIMITED = 2,         // RL
  FL_FLAG_UNAUTHORIZED = 3,         // UAEX
  FL_FLAG_RETRIES_SPENT = 4,        // URX
  FL_FLAG_UPSTREAM_TIMEOUT = 5,     // UT
  FL_FLAG_FAILED_HEALTH_CHECK = 6,  // LH
  FL_FLAG_STREAM_IDLE_TIMEOUT = 7,  // SI
  FL_FLAG_INVALID_REQUEST = 8,      // IH
  FL_FLAG_UPSTREAM_OVERFLOW = 9,    // UO
} fl_flag;

/// Counters of the stream's cluster that modules keep.
typedef enum fl_cluster_stat {
  FL_CLUSTER_RQ_TIMEOUT = 0,
  FL_CLUSTER_RQ_PER_TRY_TIMEOUT = 1,
  FL_CLUSTER_RQ_PER_TRY_IDLE_TIMEOUT = 2,
  FL_CLUSTER_RQ_RETRY = 3,
  FL_CLUSTER_RQ_RETRY_SUCCESS = 4,
  FL_CLUSTER_RQ_RETRY_OVERFLOW = 5,
  FL_CLUSTER_RQ_RETRY_LIMIT_EXCEEDED = 6,
  FL_CLUSTER_RQ_RETRY_BACKOFF_EXPONENTIAL = 7,
  FL_CLUSTER_RQ_RETRY_BACKOFF_RATELIMITED = 8,
} fl_cluster_stat;

/// Where a statistic's name is put.
typedef enum fl_scope {
  FL_SCOPE_ROOT = 0,
  FL_SCOPE_CONNECTION_MANAGER = 1,   ///< http.<stat_prefix>.
} fl_scope;

typedef struct fl_field {
  fl_bytes name;
  fl_bytes value;
} fl_field;

/// A response made here. `details` is what %RESPONSE_CODE_DETAILS% shows; blanks become underscores.
typedef struct fl_reply {
  uint32_t status;
  fl_bytes body;
  fl_bytes details;
  const fl_field *fields;     ///< added to the head
  size_t field_count;
  int32_t grpc_status;        ///< -1: derived from `status`
} fl_reply;

/// A request of the filter's own to a cluster.
typedef struct fl_call {
  fl_bytes cluster;
  const fl_field *fields;     ///< :method, :path and :authority must be among them
  size_t field_count;
  fl_bytes body;
  uint64_t timeout_ms;        ///< 0: 15 seconds
} fl_call;

/// How a call ended. `status` is 0 when there was no response; `body` is cut at the buffer limit.
typedef struct fl_call_result {
  uint32_t status;
  const fl_field *fields;
  size_t field_count;
  fl_bytes body;
} fl_call_result;

typedef enum fl_log_level {
  FL_LOG_TRACE = 0, FL_LOG_DEBUG, FL_LOG_INFO, FL_LOG_WARN, FL_LOG_ERROR, FL_LOG_CRITICAL,
} fl_log_level;

typedef enum fl_node_kind {
  FL_NODE_NULL = 0, FL_NODE_BOOL, FL_NODE_NUMBER, FL_NODE_STRING, FL_NODE_LIST, FL_NODE_MESSAGE,
  FL_NODE_DURATION,
} fl_node_kind;

struct fl_filter;

/// What the host does for a filter. One table for the life of the process.
typedef struct fl_host {
  uint32_t abi_major, abi_minor;
  size_t size;

  // ---- while loading a configuration
  fl_node_kind (*node_kind)(fl_config *, fl_node);
  /// The field with this proto name; 0 when it is not set.
  fl_node (*node_field)(fl_config *, fl_node, fl_bytes name);
  /// Items of a list, or entries of a map.
  size_t (*node_count)(fl_config *, fl_node);
  fl_node (*node_item)(fl_config *, fl_node, size_t index);
  /// The key of a map's entry.
  fl_bytes (*node_key)(fl_config *, fl_node, size_t index);
  bool (*node_bool)(fl_config *, fl_node);
  double (*node_number)(fl_config *, fl_node);
  fl_bytes (*node_string)(fl_config *, fl_node);     ///< also an enum's name, and bytes
  uint64_t (*node_duration_ns)(fl_config *, fl_node);
  /// The fully qualified message type, for a message.
  fl_bytes (*node_type)(fl_config *, fl_node);
  /// Reports a mistake at this node. The configuration is refused when `load` returns.
  void (*node_error)(fl_config *, fl_node, fl_bytes message);
  fl_stat (*define_counter)(fl_config *, fl_scope, fl_bytes name);
  fl_stat (*define_gauge)(fl_config *, fl_scope, fl_bytes name);
  fl_stat (*define_histogram)(fl_config *, fl_scope, fl_bytes name);
  /// A runtime key with its default; read with `runtime`.
  uint32_t (*define_runtime)(fl_config *, fl_bytes key, double fallback);
  /// Checks an envoy.config.route.v3.RetryPolicy; lives as long as the configuration. NULL: errors
  /// were reported.
  const fl_retry_policy *(*load_retry_policy)(fl_config *, fl_node);
  /// Compiles a list of envoy.config.route.v3.HeaderMatcher for `headers_match`, which asks for all
  /// of them. NULL: errors.
  const void *(*load_header_matchers)(fl_config *, fl_node list);
  /// Compiles a list of envoy.config.common.mutation_rules.v3.HeaderMutation, or of
  /// envoy.config.core.v3.HeaderValueOption, for `headers_mutate`. NULL: errors.
  const void *(*load_header_mutations)(fl_config *, fl_node list);

  // ---- heads and trailers
  bool (*field_get)(fl_stream *, fl_part, fl_bytes name, fl_bytes *value);
  /// Positions run from 0; removed ones are skipped. False when there is none from `*position` on;
  /// else `*position` is moved to it.
  bool (*field_at)(fl_stream *, fl_part, size_t *position, fl_field *field);
  void (*field_set)(fl_stream *, fl_part, fl_bytes name, fl_bytes value);
  void (*field_add)(fl_stream *, fl_part, fl_bytes name, fl_bytes value);
  void (*field_remove)(fl_stream *, fl_part, fl_bytes name);
  bool (*headers_match)(fl_stream *, fl_part, const void *matchers);
  void (*headers_mutate)(fl_stream *, fl_part, const void *mutations);

  // ---- body, inside a body callback
  /// Replaces the piece, or with FL_BUFFER the whole body, that the callback was lent.
  void (*body_replace)(fl_stream *, fl_bytes);
  /// Sets how much FL_BUFFER may hold for this stream.
  void (*set_buffer_limit)(fl_stream *, uint64_t bytes);

  // ---- the chain
  void (*reply)(fl_stream *, const fl_reply *);
  /// Continues a chain that waits at this filter: the request's side, or the response's.
  void (*resume_request)(fl_stream *);
  void (*resume_response)(fl_stream *);
  /// Ends the stream without a response: the downstream connection is closed.
  void (*reset)(fl_stream *, fl_bytes details);
  /// Makes the router look for a route again.
  void (*clear_route_cache)(fl_stream *);

  // ---- attempts, for filters with FL_MAY_REPLAY
  /// Keeps a copy of the request's head as it leaves this filter, and of its body up to this many
  /// bytes. Asked for in the head's callback; without it nothing can be replayed.
  void (*retain_body)(fl_stream *, uint64_t limit);
  void (*attempt)(fl_stream *, fl_attempt *);
  /// How long FL_REPLAY waits.
  void (*replay_after)(fl_stream *, uint64_t milliseconds);
  /// Ends the running attempt as failed: the filter's response callback sees the local reply.
  void (*fail_attempt)(fl_stream *, fl_failure);
  /// Asks for a place among the retries the cluster allows at a time; given back when the attempt
  /// ends.
  bool (*admit_retry)(fl_stream *);
  /// Later attempts avoid hosts that were tried, choosing again at most this many times.
  void (*avoid_previous_hosts)(fl_stream *, uint32_t attempts);

  // ---- route and cluster
  /// The most specific configuration of this filter for the matched route; NULL when there is none.
  const void *(*route_config)(fl_stream *);
  /// Never NULL; all zero when there is no route.
  const fl_timeouts *(*route_timeouts)(fl_stream *);
  /// NULL when the route, its virtual host and its configuration have none.
  const fl_retry_policy *(*route_retry_policy)(fl_stream *);
  /// Hosts of a cluster: all, healthy and degraded. False when there is no such cluster.
  bool (*cluster_health)(fl_stream *, fl_bytes cluster, uint32_t *total, uint32_t *healthy,
                         uint32_t *degraded);

  // ---- time, calls, facts
  /// Calls `on_timer` once after so many milliseconds.
  fl_ticket (*timer_start)(fl_stream *, uint64_t milliseconds, uint64_t tag);
  void (*timer_cancel)(fl_stream *, fl_ticket);
  /// Starts a request of the filter's own; `on_call` hears the result. 0: no such cluster.
  fl_ticket (*call_start)(fl_stream *, const fl_call *);
  void (*call_cancel)(fl_stream *, fl_ticket);
  uint64_t (*number)(fl_stream *, fl_number);
  bool (*text)(fl_stream *, fl_text, fl_bytes *value);
  void (*set_flag)(fl_stream *, fl_flag);
  double (*runtime)(fl_stream *, uint32_t key);
  /// Dynamic metadata along the request, as the access log's DYNAMIC_METADATA shows it.
  void (*metadata_set)(fl_stream *, fl_bytes name_space, fl_bytes key, fl_bytes value);
  bool (*metadata_get)(fl_stream *, fl_bytes name_space, fl_bytes key, fl_bytes *value);
  void (*counter_add)(fl_stream *, fl_stat, uint64_t);
  void (*gauge_add)(fl_stream *, fl_stat, int64_t);
  void (*histogram_record)(fl_stream *, fl_stat, uint64_t);
  void (*cluster_counter_add)(fl_stream *, fl_cluster_stat, uint64_t);
  /// What `worker_new` returned on this stream's worker.
  void *(*worker_state)(fl_stream *);
  void (*log)(fl_log_level, fl_bytes message);

  // ---- on a worker, outside any stream
  fl_ticket (*worker_timer_start)(fl_worker *, uint64_t milliseconds, uint64_t tag);
  void (*worker_timer_cancel)(fl_worker *, fl_ticket);
  void (*worker_counter_add)(fl_worker *, fl_stat, uint64_t);

  // ---- while loading a configuration, continued
  /// The table whose `load` or `load_route` is running: lets one function serve many filters.
  const struct fl_filter *(*filter_table)(fl_config *);

  // ---- route, continued
  /// This filter's configurations for the matched route, of every level that has one: 0 is the most
  /// specific, which `route_config` returns too; NULL past the last.
  const void *(*route_config_at)(fl_stream *, size_t index);
  /// The request is a health check: access logs may leave it out.
  void (*mark_health_check)(fl_stream *);

  // ---- sets of field names
  /// Prepares a set of lower-case names for `fields_any`; lives as long as the configuration.
  const void *(*load_field_names)(fl_config *, const fl_bytes *names, size_t count);
  /// Whether a field with one of these names may be there: false is certain. One call in the place
  /// of many `field_get`s that would find nothing.
  bool (*fields_any)(fl_stream *, fl_part, const void *names);

  // ---- the downstream connection
  /// A number of this filter's own that lives as long as the downstream connection, shared by the
  /// streams on it: `first` until somebody writes to it. All of them run on one thread. NULL where
  /// there is no connection.
  uint64_t *(*connection_number)(fl_stream *, uint64_t first);

  // ---- the chain, continued
  /// The filter has nothing to do on this stream, or nothing more: its timers and calls are
  /// cancelled, and none of its callbacks is called again, `on_end` neither, until `stream_new`
  /// begins another attempt. Then a stream pays for it no longer. The state must hold nothing that
  /// `on_end` would have to give back.
  void (*leave)(fl_stream *);

  // ---- the peer
  fl_peer (*peer)(fl_stream *);
  /// A name of the peer; false past the last. Valid as long as the callback.
  bool (*peer_name)(fl_stream *, fl_peer_name, size_t index, fl_bytes *value);

  // ---- statistics, continued
  /// Statistics of the stream's cluster, `cluster.<cluster>.<name>`, with names that are known when
  /// requests run only. A cluster has a bounded number of these, each name a bounded length: what is
  /// beyond is not counted, and the log says so.
  void (*cluster_counter_named)(fl_stream *, fl_bytes name, uint64_t);
  void (*cluster_histogram_named)(fl_stream *, fl_bytes name, uint64_t);

  // ---- body, continued
  /// Inside a trailers callback: bytes that go on behind the body, before the trailers. When the
  /// callback leaves no trailers, they end the message.
  void (*body_append)(fl_stream *, fl_bytes);

  // ---- rules of access
  /// Compiles an envoy.config.rbac.v3.RBAC; lives as long as the configuration. NULL: errors.
  const void *(*load_access_rules)(fl_config *, fl_node);
  /// The name of a policy, in the order in which they are asked; false past the last.
  bool (*access_policy)(const void *rules, size_t index, fl_bytes *name);
  /// The first policy that the request matches; SIZE_MAX is none. What follows from it is the
  /// filter's to know.
  size_t (*access_match)(fl_stream *, const void *rules);

  // ---- facts, continued
  /// Dynamic metadata that is true or false, and no text.
  void (*metadata_set_flag)(fl_stream *, fl_bytes name_space, fl_bytes key, bool value);
} fl_host;

/// The host that this image's filters talk to; NULL until somebody adopts one. Each shared object
/// has its own, so that none depends on how symbols of another are bound.
__attribute__((visibility("hidden"))) extern const fl_host *fl_adopted_host
#if __has_attribute(swift_attr)
    __attribute__((swift_attr("nonisolated(unsafe)")))
#endif
    ;

/// What a filter offers. Any callback may be NULL: traffic passes.
typedef struct fl_filter {
  uint32_t abi_major, abi_minor;
  size_t size;
  uint32_t flags;
  /// Memory of one stream's state; at most 4096 bytes, aligned to at most 16.
  size_t state_size, state_alignment;

  /// Checks and keeps a configuration. NULL refuses it, with what `node_error` said.
  void *(*load)(fl_config *, fl_node);
  /// The same for a route's, virtual host's or weighted cluster's configuration of this filter.
  void *(*load_route)(fl_config *, fl_node);
  void (*unload)(void *config);
  void (*unload_route)(void *config);
  void *(*worker_new)(void *config, fl_worker *);
  void (*worker_free)(void *worker_state);
  void (*on_worker_timer)(void *worker_state, uint64_t tag);

  /// Prepares one stream's state.
  void (*stream_new)(void *state, const void *config, fl_stream *);
  fl_verdict (*on_request_head)(void *state, const void *config, fl_stream *, bool end_stream);
  fl_verdict (*on_request_body)(void *state, const void *config, fl_stream *, fl_bytes, bool end_stream);
  fl_verdict (*on_request_trailers)(void *state, const void *config, fl_stream *);
  fl_verdict (*on_response_head)(void *state, const void *config, fl_stream *, bool end_stream);
  fl_verdict (*on_response_body)(void *state, const void *config, fl_stream *, fl_bytes, bool end_stream);
  fl_verdict (*on_response_trailers)(void *state, const void *config, fl_stream *);
  void (*on_timer)(void *state, const void *config, fl_stream *, uint64_t tag);
  void (*on_call)(void *state, const void *config, fl_stream *, fl_ticket, const fl_call_result *);
  /// The response is over and about to be logged.
  void (*on_log)(void *state, const void *config, fl_stream *);
  /// The stream or the attempt is over, whatever became of it. Last.
  void (*on_end)(void *state, const void *config, fl_stream *);
} fl_filter;

/// What a shared object exports as `fairlead_filter`: NULL when it cannot work with this host.
typedef const fl_filter *(*fl_entry)(const fl_host *);
