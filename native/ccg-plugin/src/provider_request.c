/* The TLS and HTTP client: Winsock below, mbedTLS in between, http_response.c above. */
#include <winsock2.h>
#include <ws2tcpip.h>

/* The number of a received alert is only to be had from the library's own structure. */
#define MBEDTLS_ALLOW_PRIVATE_ACCESS
#include "provider_request.h"
#include "platform.h"
#include "plugin_input.h"

#include <string.h>

#include "mbedtls/net_sockets.h"
#include "mbedtls/ssl.h"
#include "psa/crypto.h"

/* How long the first address family is tried alone; a refused loopback connection takes Windows about 2 s. */
#define FAMILY_HEAD_START_MS 200

/*
 * What is received at once, at most. mbedTLS asks for a record's five bytes of header and then for the
 * rest; a handshake comes in far fewer pieces.
 */
#define RECEIVED_MAX 4096

struct connection {
  SOCKET socket;
  uint64_t deadline;
  int first_byte;   /* the first one received, or -1: it tells TLS from anything else */
  int closed;       /* the other side has ended the connection */
  int socket_error; /* the last failure of Winsock, or 0 */
  size_t taken;     /* of the received bytes, still encrypted */
  size_t received;
  unsigned char bytes[RECEIVED_MAX];
};

static DWORD remaining(uint64_t deadline) {
  const uint64_t now = plugin_ticks();
  return now >= deadline ? 0 : (DWORD)(deadline - now);
}

/* Waits until one of two sockets can be written or has failed, or one be read. Returns select's answer. */
static int wait_for(SOCKET one, SOCKET other, int reading, DWORD milliseconds, fd_set *ready, fd_set *failed) {
  struct timeval time = {(long)(milliseconds / 1000), (long)(milliseconds % 1000 * 1000)};
  FD_ZERO(ready);
  FD_ZERO(failed);
  if (one != INVALID_SOCKET) { FD_SET(one, ready); FD_SET(one, failed); }
  if (other != INVALID_SOCKET) { FD_SET(other, ready); FD_SET(other, failed); }
  return select(0, reading ? ready : NULL, reading ? NULL : ready, failed, &time);
}

/* Begins to connect; INVALID_SOCKET with *error when that failed at once. */
static SOCKET begin_connect(int family, uint16_t port, int *error) {
  union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
  } address;
  u_long non_blocking = 1;
  BOOL no_delay = TRUE;
  int size;

  memset(&address, 0, sizeof address);
  if (family == AF_INET) {
    address.v4.sin_family = AF_INET;
    address.v4.sin_port = htons(port);
    address.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    size = sizeof address.v4;
  } else {
    address.v6.sin6_family = AF_INET6;
    address.v6.sin6_port = htons(port);
    address.v6.sin6_addr.s6_addr[15] = 1; /* ::1 */
    size = sizeof address.v6;
  }

  const SOCKET made = WSASocketW(family, SOCK_STREAM, IPPROTO_TCP, NULL, 0, WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT);
  if (made == INVALID_SOCKET) {
    *error = WSAGetLastError();
    return INVALID_SOCKET;
  }
  setsockopt(made, IPPROTO_TCP, TCP_NODELAY, (const char *)&no_delay, sizeof no_delay);
  if (ioctlsocket(made, (long)FIONBIO, &non_blocking) == 0 && connect(made, &address.any, size) != 0) {
    *error = WSAGetLastError();
    if (*error != WSAEWOULDBLOCK) {
      closesocket(made);
      return INVALID_SOCKET;
    }
  }
  *error = 0;
  return made;
}

/* Closes a socket whose attempt has failed and remembers why. */
static void drop(SOCKET *candidate, int *error) {
  int size = sizeof *error;
  if (getsockopt(*candidate, SOL_SOCKET, SO_ERROR, (char *)error, &size) != 0) *error = WSAGetLastError();
  closesocket(*candidate);
  *candidate = INVALID_SOCKET;
}

/*
 * Connects to 127.0.0.1 or ::1, whichever the account provider listens on. The name localhost is not
 * looked up: neither a hosts file nor DNS has a say in where the request goes.
 */
static enum cause connect_loopback(uint16_t port, struct connection *connection, struct note *note) {
  SOCKET v6 = INVALID_SOCKET;
  int v4_error = 0;
  int v6_error = 0;
  int v6_tried = 0;
  SOCKET v4 = begin_connect(AF_INET, port, &v4_error);

  connection->socket = INVALID_SOCKET;
  for (;;) {
    fd_set ready;
    fd_set failed;
    DWORD time = remaining(connection->deadline);
    if (v4 == INVALID_SOCKET && v6 == INVALID_SOCKET && v6_tried) break;
    if (time == 0) break;
    if (v4 == INVALID_SOCKET && !v6_tried) {
      v6 = begin_connect(AF_INET6, port, &v6_error);
      v6_tried = 1;
      continue;
    }
    if (!v6_tried && time > FAMILY_HEAD_START_MS) time = FAMILY_HEAD_START_MS;
    const int count = wait_for(v4, v6, 0, time, &ready, &failed);
    if (count == SOCKET_ERROR) {
      v4_error = WSAGetLastError();
      break;
    }
    if (count == 0 && !v6_tried) {
      v6 = begin_connect(AF_INET6, port, &v6_error);
      v6_tried = 1;
    }
    if (v4 != INVALID_SOCKET && FD_ISSET(v4, &failed)) drop(&v4, &v4_error);
    else if (v4 != INVALID_SOCKET && FD_ISSET(v4, &ready)) { connection->socket = v4; v4 = INVALID_SOCKET; break; }
    if (v6 != INVALID_SOCKET && FD_ISSET(v6, &failed)) drop(&v6, &v6_error);
    else if (v6 != INVALID_SOCKET && FD_ISSET(v6, &ready)) { connection->socket = v6; v6 = INVALID_SOCKET; break; }
  }
  const int timed_out = v4 != INVALID_SOCKET || v6 != INVALID_SOCKET;
  if (v4 != INVALID_SOCKET) closesocket(v4);
  if (v6 != INVALID_SOCKET) closesocket(v6);
  if (connection->socket != INVALID_SOCKET) return cause_success;
  if (timed_out && v4_error == 0) return cause_connect_timeout;
  /* It was there, and broke before we could look. */
  if (v4_error == WSAECONNRESET || v4_error == WSAECONNABORTED) return cause_handshake_closed;
  if (v4_error == WSAECONNREFUSED) return cause_provider_down;
  note_text(note, "Windows socket error ");
  note_number(note, (uint32_t)v4_error);
  return cause_connect_failed;
}

static int send_some(void *context, const unsigned char *bytes, size_t length) {
  struct connection *connection = context;
  const int count = send(connection->socket, (const char *)bytes, length > 0x7FFFFFFF ? 0x7FFFFFFF : (int)length, 0);
  if (count >= 0) return count;
  const int error = WSAGetLastError();
  if (error == WSAEWOULDBLOCK) return MBEDTLS_ERR_SSL_WANT_WRITE;
  connection->socket_error = error;
  return error == WSAECONNRESET || error == WSAECONNABORTED ? MBEDTLS_ERR_NET_CONN_RESET : MBEDTLS_ERR_NET_SEND_FAILED;
}

static int receive_some(void *context, unsigned char *bytes, size_t length) {
  struct connection *connection = context;
  if (connection->taken == connection->received) {
    const int count = recv(connection->socket, (char *)connection->bytes, RECEIVED_MAX, 0);
    if (count == 0) {
      connection->closed = 1;
      return MBEDTLS_ERR_SSL_CONN_EOF;
    }
    if (count < 0) {
      const int error = WSAGetLastError();
      if (error == WSAEWOULDBLOCK) return MBEDTLS_ERR_SSL_WANT_READ;
      connection->socket_error = error;
      return error == WSAECONNRESET || error == WSAECONNABORTED ? MBEDTLS_ERR_NET_CONN_RESET : MBEDTLS_ERR_NET_RECV_FAILED;
    }
    if (connection->first_byte < 0) connection->first_byte = connection->bytes[0];
    connection->taken = 0;
    connection->received = (size_t)count;
  }
  const size_t left = connection->received - connection->taken;
  const size_t count = length < left ? length : left;
  memcpy(bytes, connection->bytes + connection->taken, count);
  connection->taken += count;
  return (int)count;
}

/* Waits for what mbedTLS wants; 0 when the deadline has passed. */
static int wait_wanted(const struct connection *connection, int wanted) {
  fd_set ready;
  fd_set failed;
  const DWORD time = remaining(connection->deadline);
  if (time == 0) return 0;
  return wait_for(connection->socket, INVALID_SOCKET, wanted == MBEDTLS_ERR_SSL_WANT_READ, time, &ready, &failed) != 0;
}

static int is_wait(int result) { return result == MBEDTLS_ERR_SSL_WANT_READ || result == MBEDTLS_ERR_SSL_WANT_WRITE; }

/* A server that checks client certificates inside TLS refuses ours with one of these alerts (RFC 8446, 6.2). */
static int is_certificate_alert(int alert) {
  return (alert >= MBEDTLS_SSL_ALERT_MSG_NO_CERT && alert <= MBEDTLS_SSL_ALERT_MSG_CERT_UNKNOWN) ||
         alert == MBEDTLS_SSL_ALERT_MSG_UNKNOWN_CA || alert == MBEDTLS_SSL_ALERT_MSG_ACCESS_DENIED ||
         alert == 116 /* certificate_required */;
}

static int received_alert(const mbedtls_ssl_context *tls, int result) {
  return result == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE && tls->MBEDTLS_PRIVATE(in_msg)
             ? tls->MBEDTLS_PRIVATE(in_msg)[1]
             : -1;
}

/* The first thing wrong with the server's certificate, most telling first. */
static enum cause certificate_cause(uint32_t flags, struct note *note) {
  if (flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED) return cause_server_untrusted;
  if (flags & (MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE)) return cause_server_expired;
  if (flags & MBEDTLS_X509_BADCERT_CN_MISMATCH) return cause_server_name;
  if (flags & (MBEDTLS_X509_BADCERT_KEY_USAGE | MBEDTLS_X509_BADCERT_EXT_KEY_USAGE)) return cause_server_usage;
  note_text(note, "verification flags ");
  note_hex(note, flags);
  return cause_server_certificate;
}

static void note_tls_error(struct note *note, int result) {
  note_text(note, "mbedTLS error -");
  note_hex(note, (uint32_t)-result);
}

/* Why a handshake ended with `result`. */
static enum cause handshake_cause(const mbedtls_ssl_context *tls, const struct connection *connection, int result,
                                  struct note *note) {
  const uint32_t flags = mbedtls_ssl_get_verify_result(tls);
  const int alert = received_alert(tls, result);
  if (connection->first_byte >= 0 && (connection->first_byte < 20 || connection->first_byte > 23)) return cause_not_tls;
  if (flags != 0 && flags != 0xFFFFFFFFu) return certificate_cause(flags, note);
  if (is_certificate_alert(alert)) return cause_client_certificate_refused;
  if (alert >= 0) {
    note_text(note, "TLS alert ");
    note_number(note, (uint32_t)alert);
    return cause_handshake_failed;
  }
  if (result == MBEDTLS_ERR_SSL_ALLOC_FAILED || result == MBEDTLS_ERR_X509_ALLOC_FAILED) return cause_out_of_memory;
  if (result == MBEDTLS_ERR_SSL_CONN_EOF || result == MBEDTLS_ERR_NET_CONN_RESET ||
      result == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) {
    return cause_handshake_closed;
  }
  note_tls_error(note, result);
  /* What mbedTLS calls an X.509 error here is a certificate of the server's that it cannot parse. */
  return (-result & 0x7F80) >= 0x2080 && (-result & 0x7F80) <= 0x2A00 ? cause_server_certificate : cause_handshake_failed;
}

static enum cause shake_hands(mbedtls_ssl_context *tls, struct connection *connection, struct note *note) {
  for (;;) {
    const int result = mbedtls_ssl_handshake(tls);
    if (result == 0) return cause_success;
    if (!is_wait(result)) return handshake_cause(tls, connection, result, note);
    if (!wait_wanted(connection, result)) return cause_handshake_timeout;
  }
}

/* Why sending or receiving ended with `result`. */
static enum cause transfer_cause(const mbedtls_ssl_context *tls, const struct connection *connection, int result,
                                 struct note *note) {
  const int alert = received_alert(tls, result);
  if (is_certificate_alert(alert)) return cause_client_certificate_refused;
  if (result == 0 || result == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY || result == MBEDTLS_ERR_SSL_CONN_EOF) {
    return cause_response_closed;
  }
  if (alert >= 0) {
    note_text(note, "TLS alert ");
    note_number(note, (uint32_t)alert);
  } else if (connection->socket_error != 0) {
    note_text(note, "Windows socket error ");
    note_number(note, (uint32_t)connection->socket_error);
  } else {
    note_tls_error(note, result);
  }
  return cause_response_failed;
}

static size_t append(char *text, size_t at, const char *more) {
  while (*more) text[at++] = *more++;
  return at;
}

/* Room for the fixed parts, five digits and the longest object. */
#define REQUEST_SIZE (PLUGIN_INPUT_MAX + 256)

static size_t write_request(char *text, uint16_t port, const char *object_name) {
  char digits[6];
  int first = 5;
  digits[first] = 0;
  for (uint32_t rest = port; rest > 0; rest /= 10) digits[--first] = (char)('0' + rest % 10);
  size_t at = append(text, 0, "GET /provider HTTP/1.1\r\nHost: localhost:");
  at = append(text, at, digits + first);
  at = append(text, at, "\r\nobject: ");
  at = append(text, at, object_name);
  return append(text, at, "\r\nAccept: application/json\r\nConnection: close\r\n\r\n");
}

static enum cause send_request(mbedtls_ssl_context *tls, struct connection *connection, uint16_t port,
                               const char *object_name, struct note *note) {
  char request[REQUEST_SIZE];
  const size_t length = write_request(request, port, object_name);
  size_t sent = 0;
  while (sent < length) {
    const int result = mbedtls_ssl_write(tls, (const unsigned char *)request + sent, length - sent);
    if (result > 0) sent += (size_t)result;
    else if (!is_wait(result)) return transfer_cause(tls, connection, result, note);
    else if (!wait_wanted(connection, result)) return cause_response_timeout;
  }
  return cause_success;
}

static enum cause receive_answer(mbedtls_ssl_context *tls, struct connection *connection, struct provider_answer *answer,
                                 struct note *note) {
  struct response_head head = {0, 0, 0, 0};
  size_t filled = 0;

  for (;;) {
    if (remaining(connection->deadline) == 0) return cause_response_timeout;
    const int result = mbedtls_ssl_read(tls, answer->bytes + filled, sizeof answer->bytes - filled);
    if (result > 0) {
      filled += (size_t)result;
      if (!head.complete) {
        const enum cause cause = parse_response_head(answer->bytes, filled, &head);
        if (cause == cause_redirected || cause == cause_provider_error || cause == cause_status_unexpected) {
          note_number(note, (uint32_t)head.status);
        }
        if (cause != cause_success) return cause;
      }
      if (head.complete && filled >= head.head_length + head.body_length) break;
      continue;
    }
    if (result == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET) continue;
    if (!is_wait(result)) return transfer_cause(tls, connection, result, note);
    if (!wait_wanted(connection, result)) return cause_response_timeout;
  }
  answer->body_start = head.head_length;
  answer->body_length = head.body_length;
  return cause_success;
}

/* The whole exchange over a connected socket. */
static enum cause exchange(struct connection *connection, uint16_t port, struct provider_keys *keys,
                           const char *object_name, struct provider_answer *answer, struct note *note) {
  mbedtls_ssl_config config;
  mbedtls_ssl_context tls;
  enum cause cause;

  mbedtls_ssl_config_init(&config);
  mbedtls_ssl_init(&tls);
  int error = mbedtls_ssl_config_defaults(&config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
                                          MBEDTLS_SSL_PRESET_DEFAULT);
  if (error == 0) {
    mbedtls_ssl_conf_authmode(&config, MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ssl_conf_ca_chain(&config, &keys->authority, NULL);
    mbedtls_ssl_conf_rng(&config, plugin_random, NULL);
    mbedtls_ssl_conf_session_tickets(&config, MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
    error = mbedtls_ssl_conf_own_cert(&config, &keys->certificate, &keys->key);
  }
  if (error == 0) error = mbedtls_ssl_setup(&tls, &config);
  if (error == 0) error = mbedtls_ssl_set_hostname(&tls, "localhost");
  if (error != 0) {
    if (error == MBEDTLS_ERR_SSL_ALLOC_FAILED) cause = cause_out_of_memory;
    else {
      note_tls_error(note, error);
      cause = cause_internal;
    }
  } else {
    mbedtls_ssl_set_bio(&tls, connection, send_some, receive_some, NULL);
    cause = shake_hands(&tls, connection, note);
    if (cause == cause_success) cause = send_request(&tls, connection, port, object_name, note);
    if (cause == cause_success) cause = receive_answer(&tls, connection, answer, note);
    /* One try, without waiting: the other side loses nothing if it doesn't get it. */
    if (!connection->closed) mbedtls_ssl_close_notify(&tls);
  }
  mbedtls_ssl_free(&tls);
  mbedtls_ssl_config_free(&config);
  return cause;
}

/*
 * Winsock is started and ended by each call, so that nothing is left to be done when the DLL goes. One at
 * a time: Wine counts without a lock, and a count that is lost closes the sockets of every other thread.
 */
static SRWLOCK winsock_lock = SRWLOCK_INIT;

static int start_winsock(void) {
  WSADATA winsock;
  AcquireSRWLockExclusive(&winsock_lock);
  const int error = WSAStartup(MAKEWORD(2, 2), &winsock);
  ReleaseSRWLockExclusive(&winsock_lock);
  return error;
}

static void end_winsock(void) {
  AcquireSRWLockExclusive(&winsock_lock);
  WSACleanup();
  ReleaseSRWLockExclusive(&winsock_lock);
}

enum cause request_credentials(uint16_t port, struct provider_keys *keys, const char *object_name, uint64_t deadline,
                               struct provider_answer *answer, struct note *note) {
  struct connection connection;

  connection.socket = INVALID_SOCKET;
  connection.deadline = deadline;
  connection.first_byte = -1;
  connection.closed = 0;
  connection.socket_error = 0;
  connection.taken = 0;
  connection.received = 0;
  const int error = start_winsock();
  if (error != 0) {
    note_text(note, "Windows socket error ");
    note_number(note, (uint32_t)error);
    return cause_connect_failed;
  }
  enum cause cause = connect_loopback(port, &connection, note);
  if (cause == cause_success) {
    cause = exchange(&connection, port, keys, object_name, answer, note);
    closesocket(connection.socket);
  }
  end_winsock();
  return cause;
}
