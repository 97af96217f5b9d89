#pragma once
// OpenSSL 3 for Swift: its headers, the macros that Swift cannot import as functions, and a BIO over
// a descriptor that somebody else owns.
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/param_build.h>
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

// ---- Making certificates.

static const int fl_tls_utf8_text = MBSTRING_UTF8;

// Whether an elliptic curve key lies on one of the curves that everybody knows, by name: parameters of
// the peer's own invention are costly to compute with, and prove nothing.
static inline int fl_tls_has_common_curve(const EVP_PKEY *key) {
  char name[64];
  size_t length = 0;
  if (EVP_PKEY_get_group_name(key, name, sizeof name, &length) != 1) return 0;
  return strcmp(name, "prime256v1") == 0 || strcmp(name, "P-256") == 0 ||
         strcmp(name, "secp384r1") == 0 || strcmp(name, "P-384") == 0 ||
         strcmp(name, "secp521r1") == 0 || strcmp(name, "P-521") == 0;
}

// 159 random bits: positive, and at most the 20 bytes that RFC 5280 §4.1.2.2 allows.
static inline int fl_tls_random_serial(X509 *certificate) {
  BIGNUM *number = BN_new();
  if (number == NULL) return 0;
  int done = BN_rand(number, 159, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
             BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL;
  BN_free(number);
  return done;
}

// An extension as OpenSSL's configuration writes it. `value` is ours, never a peer's.
static inline int fl_tls_extend(X509 *certificate, X509 *issuer, int nid, const char *value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
  X509V3_set_ctx_nodb(&context);
  X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
  if (extension == NULL) return 0;
  int done = X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
  return done;
}

static inline GENERAL_NAMES *fl_tls_names(void) { return sk_GENERAL_NAME_new_null(); }

// Adds a name of bytes: GEN_URI, GEN_DNS or GEN_IPADD.
static inline int fl_tls_names_add(
    GENERAL_NAMES *names, int kind, const unsigned char *bytes, int length) {
  GENERAL_NAME *name = GENERAL_NAME_new();
  ASN1_STRING *text =
      ASN1_STRING_type_new(kind == GEN_IPADD ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
  if (name == NULL || text == NULL || ASN1_STRING_set(text, bytes, length) != 1) {
    GENERAL_NAME_free(name);
    ASN1_STRING_free(text);
    return 0;
  }
  GENERAL_NAME_set0_value(name, kind, text);
  if (sk_GENERAL_NAME_push(names, name) > 0) return 1;
  GENERAL_NAME_free(name);
  return 0;
}

// Gives a certificate these alternative names.
static inline int fl_tls_set_names(X509 *certificate, GENERAL_NAMES *names, int critical) {
  return X509_add1_ext_i2d(
             certificate, NID_subject_alt_name, names, critical, X509V3_ADD_DEFAULT) == 1;
}

// The same for a request.
static inline int fl_tls_request_names(X509_REQ *request, GENERAL_NAMES *names) {
  STACK_OF(X509_EXTENSION) *extensions = NULL;
  int done = X509V3_add1_i2d(&extensions, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1 &&
             X509_REQ_add_extensions(request, extensions) == 1;
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  return done;
}

// ---- Public keys from their numbers.

static inline EVP_PKEY *fl_tls_key_from(const char *type, OSSL_PARAM *params) {
  EVP_PKEY *key = NULL;
  EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
  if (context == NULL) return NULL;
  if (EVP_PKEY_fromdata_init(context) != 1 ||
      EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
    key = NULL;
  EVP_PKEY_CTX_free(context);
  return key;
}

// NULL when the numbers are no key.
static inline EVP_PKEY *fl_tls_rsa_key(
    const unsigned char *modulus, size_t modulus_length, const unsigned char *exponent,
    size_t exponent_length) {
  BIGNUM *n = BN_bin2bn(modulus, (int)modulus_length, NULL);
  BIGNUM *e = BN_bin2bn(exponent, (int)exponent_length, NULL);
  OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
  OSSL_PARAM *params = NULL;
  EVP_PKEY *key = NULL;
  // An even modulus or exponent is no RSA key, and 1 signs nothing.
  if (n != NULL && e != NULL && builder != NULL && BN_is_odd(n) && BN_is_odd(e) && !BN_is_one(e) &&
      BN_num_bits(n) >= 2048 && OSSL_PARAM_BLD_push_BN(builder, "n", n) == 1 &&
      OSSL_PARAM_BLD_push_BN(builder, "e", e) == 1 &&
      (params = OSSL_PARAM_BLD_to_param(builder)) != NULL)
    key = fl_tls_key_from("RSA", params);
  OSSL_PARAM_free(params);
  OSSL_PARAM_BLD_free(builder);
  BN_free(n);
  BN_free(e);
  return key;
}

// `point` is 04, x, y. NULL when it does not lie on the curve.
static inline EVP_PKEY *fl_tls_p256_key(const unsigned char *point, size_t length) {
  OSSL_PARAM params[3];
  params[0] = OSSL_PARAM_construct_utf8_string("group", (char *)"prime256v1", 0);
  params[1] = OSSL_PARAM_construct_octet_string("pub", (void *)point, length);
  params[2] = OSSL_PARAM_construct_end();
  return fl_tls_key_from("EC", params);
}

// The two numbers of a signature, each `half` bytes, as DER; the caller frees it.
static inline int fl_tls_ecdsa_signature(
    const unsigned char *numbers, int half, unsigned char **der) {
  BIGNUM *r = BN_bin2bn(numbers, half, NULL);
  BIGNUM *s = BN_bin2bn(numbers + half, half, NULL);
  ECDSA_SIG *signature = ECDSA_SIG_new();
  if (r == NULL || s == NULL || signature == NULL || ECDSA_SIG_set0(signature, r, s) != 1) {
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(signature);
    return 0;
  }
  int length = i2d_ECDSA_SIG(signature, der);
  ECDSA_SIG_free(signature);
  return length;
}

// Any key, for tests of those that are refused.
static inline EVP_PKEY *fl_tls_test_key(const char *type, size_t bits, const char *group) {
  return group == NULL ? EVP_PKEY_Q_keygen(NULL, NULL, type, bits)
                       : EVP_PKEY_Q_keygen(NULL, NULL, type, group);
}
