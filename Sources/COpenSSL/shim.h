#pragma once
// OpenSSL 3 for Swift: its headers, the macros that Swift cannot import as functions, and a BIO over
// a descriptor that somebody else owns.
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

// ---- One session's link to its socket, and what its verification found.

typedef struct fl_tls_link {
  int fd;
  // The errno of a call that failed; 0 while none has.
  int error;
  // Nothing was left in the socket at the last read: asking again would only find EAGAIN. Cleared by
  // whoever hears that more has come.
  uint8_t drained;
  // The peer has hung up: a short read no longer means that an event will follow.
  uint8_t hung_up;
  uint8_t ended;
  // The peer's certificate has to name whom we asked for.
  uint8_t matches_name;
  // A name that the peer's certificate has to carry, of whatever kind; none where the count is 0.
  unsigned char *required_name;
  size_t required_count;
  // What a certificate's verification came to: a TLSVerification's number, X509_V_ERR_…, and where.
  uint8_t verification;
  int verify_error;
  int verify_depth;
  // Where a client keeps sessions to resume; NULL on a server.
  void *sessions;
} fl_tls_link;

static inline int fl_tls_link_read(BIO *bio, char *out, int capacity) {
  fl_tls_link *link = (fl_tls_link *)BIO_get_data(bio);
  BIO_clear_retry_flags(bio);
  if (link->drained) {
    BIO_set_retry_read(bio);
    return -1;
  }
  ssize_t n;
  do n = recv(link->fd, out, (size_t)capacity, 0);
  while (n < 0 && errno == EINTR);
  if (n > 0) {
    // A short read has emptied the socket, and the next byte brings an event of its own.
    if (n < capacity && !link->hung_up) link->drained = 1;
    return (int)n;
  }
  if (n == 0) {
    link->ended = 1;
    return 0;
  }
  if (errno == EAGAIN) {
    link->drained = 1;
    BIO_set_retry_read(bio);
  } else {
    link->error = errno;
  }
  return -1;
}

static inline int fl_tls_link_write(BIO *bio, const char *bytes, int count) {
  fl_tls_link *link = (fl_tls_link *)BIO_get_data(bio);
  BIO_clear_retry_flags(bio);
  ssize_t n;
  do n = send(link->fd, bytes, (size_t)count, MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  if (n >= 0) return (int)n;
  if (errno == EAGAIN) {
    BIO_set_retry_write(bio);
  } else {
    link->error = errno;
  }
  return -1;
}

static inline long fl_tls_link_control(BIO *bio, int command, long number, void *pointer) {
  (void)number;
  (void)pointer;
  switch (command) {
    case BIO_CTRL_FLUSH: return 1;
    case BIO_CTRL_EOF: return ((fl_tls_link *)BIO_get_data(bio))->ended;
    default: return 0;
  }
}

static inline int fl_tls_link_create(BIO *bio) {
  BIO_set_init(bio, 1);
  return 1;
}

// NULL when out of memory.
static inline BIO_METHOD *fl_tls_link_method(void) {
  BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "fairlead");
  if (method == NULL) return NULL;
  BIO_meth_set_read(method, fl_tls_link_read);
  BIO_meth_set_write(method, fl_tls_link_write);
  BIO_meth_set_ctrl(method, fl_tls_link_control);
  BIO_meth_set_create(method, fl_tls_link_create);
  return method;
}

// A session over `link`, which has to outlive it. NULL when out of memory.
static inline SSL *fl_tls_session(SSL_CTX *context, const BIO_METHOD *method, fl_tls_link *link) {
  SSL *ssl = SSL_new(context);
  if (ssl == NULL) return NULL;
  BIO *bio = BIO_new(method);
  if (bio == NULL) {
    SSL_free(ssl);
    return NULL;
  }
  BIO_set_data(bio, link);
  SSL_set_bio(ssl, bio, bio);
  SSL_set_app_data(ssl, link);
  return ssl;
}

static inline fl_tls_link *fl_tls_link_of(const SSL *ssl) {
  return (fl_tls_link *)SSL_get_app_data(ssl);
}

// The session that a verification is for.
static inline SSL *fl_tls_verified_session(X509_STORE_CTX *store) {
  return (SSL *)X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
}

// ---- Macros of OpenSSL as constants and functions.

static const uint64_t FL_TLS_NO_RENEGOTIATION = SSL_OP_NO_RENEGOTIATION;
static const uint64_t FL_TLS_NO_COMPRESSION = SSL_OP_NO_COMPRESSION;
// An end without a goodbye is told by the link; it is no reason to distrust the session.
static const uint64_t FL_TLS_IGNORE_EOF = SSL_OP_IGNORE_UNEXPECTED_EOF;
static const uint64_t FL_TLS_NO_TICKET = SSL_OP_NO_TICKET;
static const unsigned long FL_TLS_NAME_STYLE = XN_FLAG_RFC2253;
static const uint64_t FL_TLS_SERVER_PREFERENCE = SSL_OP_CIPHER_SERVER_PREFERENCE;

static inline int fl_tls_context_index(CRYPTO_EX_free *release) {
  return CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_SSL_CTX, 0, NULL, NULL, NULL, release);
}

// EVP_RSA_gen and EVP_EC_gen are a macro and a variadic call behind it.
static inline EVP_PKEY *fl_tls_new_key(int rsa) {
  return rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
}

static inline int fl_tls_set_versions(SSL_CTX *context, int least, int most) {
  return SSL_CTX_set_min_proto_version(context, least) == 1 &&
         SSL_CTX_set_max_proto_version(context, most) == 1;
}

// Buffers are given back between messages; a write may take a part and be repeated from other memory;
// a blocked read returns instead of waiting within.
static inline void fl_tls_set_modes(SSL_CTX *context) {
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY);
  SSL_CTX_set_read_ahead(context, 1);
}

static inline int fl_tls_set_groups(SSL_CTX *context, const char *list) {
  return (int)SSL_CTX_set1_groups_list(context, list);
}

static inline int fl_tls_set_signature_algorithms(SSL_CTX *context, const char *list) {
  return (int)SSL_CTX_set1_sigalgs_list(context, list);
}

static inline void fl_tls_cache_sessions(SSL_CTX *context, long mode, long most) {
  SSL_CTX_set_session_cache_mode(context, mode);
  SSL_CTX_sess_set_cache_size(context, most);
}

static inline void fl_tls_set_ticket_keys(
    SSL_CTX *context,
    int (*callback)(SSL *, unsigned char *, unsigned char *, EVP_CIPHER_CTX *, EVP_MAC_CTX *, int)) {
  SSL_CTX_set_tlsext_ticket_key_evp_cb(context, callback);
}

static inline int fl_tls_set_server_name(SSL *ssl, const char *name) {
  return (int)SSL_set_tlsext_host_name(ssl, name);
}

static inline int fl_tls_was_resumed(SSL *ssl) { return SSL_session_reused(ssl); }
static inline int fl_tls_negotiated_group(SSL *ssl) { return (int)SSL_get_negotiated_group(ssl); }

static inline int fl_tls_peer_digest(SSL *ssl) {
  int nid = NID_undef;
  return SSL_get_peer_signature_nid(ssl, &nid) == 1 ? nid : NID_undef;
}

static inline int fl_tls_peer_signature(SSL *ssl) {
  int nid = NID_undef;
  return SSL_get_peer_signature_type_nid(ssl, &nid) == 1 ? nid : NID_undef;
}

static inline int fl_tls_error_reason(unsigned long code) { return ERR_GET_REASON(code); }

static inline BIO *fl_tls_memory(const void *bytes, int count) {
  return BIO_new_mem_buf(bytes, count);
}

// What a memory BIO holds; valid until it is written to or freed.
static inline long fl_tls_memory_bytes(BIO *bio, char **bytes) { return BIO_get_mem_data(bio, bytes); }

static inline int fl_tls_name_count(const GENERAL_NAMES *names) {
  return sk_GENERAL_NAME_num(names);
}

// Gives a certificate this one alternative name; takes it over. For tests.
static inline int fl_tls_replace_names(X509 *certificate, GENERAL_NAME *name) {
  GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
  if (names == NULL || sk_GENERAL_NAME_push(names, name) <= 0) return 0;
  int done = X509_add1_ext_i2d(
      certificate, NID_subject_alt_name, names, 0, X509V3_ADD_REPLACE);
  GENERAL_NAMES_free(names);
  return done == 1;
}

static inline GENERAL_NAME *fl_tls_name_at(const GENERAL_NAMES *names, int index) {
  return sk_GENERAL_NAME_value(names, index);
}

static inline int fl_tls_certificate_count(const STACK_OF(X509) *list) {
  return list == NULL ? 0 : sk_X509_num(list);
}

static inline X509 *fl_tls_certificate_at(const STACK_OF(X509) *list, int index) {
  return sk_X509_value(list, index);
}

static inline STACK_OF(X509) *fl_tls_certificates(void) { return sk_X509_new_null(); }

// Takes a reference of its own.
static inline int fl_tls_certificates_add(STACK_OF(X509) *list, X509 *certificate) {
  if (X509_up_ref(certificate) != 1) return 0;
  if (sk_X509_push(list, certificate) > 0) return 1;
  X509_free(certificate);
  return 0;
}

static inline void fl_tls_certificates_free(STACK_OF(X509) *list) {
  sk_X509_pop_free(list, X509_free);
}

static inline int fl_tls_add_client_authority(STACK_OF(X509_NAME) *list, X509 *certificate) {
  X509_NAME *name = X509_NAME_dup(X509_get_subject_name(certificate));
  if (name == NULL) return 0;
  if (sk_X509_NAME_push(list, name) > 0) return 1;
  X509_NAME_free(name);
  return 0;
}

static inline STACK_OF(X509_NAME) *fl_tls_authorities(void) { return sk_X509_NAME_new_null(); }

// AES-256-CBC with HMAC-SHA256, as Envoy's ticket keys are used: 16 bytes of name, 32 for the HMAC,
// 32 for the cipher. `seals`: encrypt with a fresh vector, else decrypt.
static inline int fl_tls_ticket_cipher(
    const unsigned char *key, unsigned char *vector, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
    int seals) {
  if (seals && RAND_bytes(vector, EVP_MAX_IV_LENGTH) != 1) return -1;
  OSSL_PARAM params[3];
  params[0] = OSSL_PARAM_construct_octet_string("key", (void *)(key + 16), 32);
  params[1] = OSSL_PARAM_construct_utf8_string("digest", (char *)"SHA256", 0);
  params[2] = OSSL_PARAM_construct_end();
  if (EVP_MAC_CTX_set_params(mac, params) != 1) return -1;
  int done = seals ? EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key + 48, vector)
                   : EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key + 48, vector);
  return done == 1 ? 1 : -1;
}
