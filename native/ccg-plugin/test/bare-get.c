/*
 * The least that a mutual TLS GET costs with this mbedTLS, for bench/ to compare the plugin with: nothing is checked but
 * the handshake, nothing is parsed. The first request's time has the library's and Winsock's start in it, and the reading
 * of keys and certificates, as the plugin's first call has; later ones use what is there.
 *
 *   bare-get PORT COUNT CA-FILE CERTIFICATE-FILE KEY-FILE     milliseconds, one line per request
 */
#include <winsock2.h>
#include <ws2tcpip.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mbedtls/net_sockets.h"
#include "mbedtls/pem.h"
#include "mbedtls/ssl.h"
#include "psa/crypto.h"

#include "../src/platform.h"

static int accept_extension(void *context, mbedtls_x509_crt const *certificate, mbedtls_x509_buf const *oid, int critical,
                            const unsigned char *value, const unsigned char *end) {
  (void)context, (void)certificate, (void)oid, (void)critical, (void)value, (void)end;
  return 0;
}

/* As in src/provider_keys.c: the server sends its authority along. */
int __wrap_mbedtls_x509_crt_parse_der(mbedtls_x509_crt *chain, const unsigned char *der, size_t length);
int __wrap_mbedtls_x509_crt_parse_der(mbedtls_x509_crt *chain, const unsigned char *der, size_t length) {
  return mbedtls_x509_crt_parse_der_with_ext_cb(chain, der, length, 1, accept_extension, NULL);
}

static unsigned char *read_file(const char *path, size_t *length) {
  static unsigned char buffer[3][65536];
  static int next;
  FILE *file = fopen(path, "rb");
  if (!file) exit(3);
  unsigned char *text = buffer[next++];
  *length = fread(text, 1, 65535, file) + 1;
  fclose(file);
  return text;
}

static void parse_certificate(mbedtls_x509_crt *certificate, const char *path) {
  mbedtls_pem_context pem;
  size_t length;
  size_t used;
  unsigned char *text = read_file(path, &length);
  mbedtls_pem_init(&pem);
  if (mbedtls_pem_read_buffer(&pem, "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----", text, NULL, 0, &used) != 0) exit(4);
  const unsigned char *der = mbedtls_pem_get_buffer(&pem, &length);
  if (mbedtls_x509_crt_parse_der_with_ext_cb(certificate, der, length, 1, accept_extension, NULL) != 0) exit(4);
}

static int send_all(void *context, const unsigned char *bytes, size_t length) {
  return send(*(SOCKET *)context, (const char *)bytes, (int)length, 0);
}

static int receive(void *context, unsigned char *bytes, size_t length) {
  return recv(*(SOCKET *)context, (char *)bytes, (int)length, 0);
}

int main(int count, char **arguments) {
  mbedtls_x509_crt authority;
  mbedtls_x509_crt certificate;
  mbedtls_pk_context key;
  mbedtls_ssl_config config;
  WSADATA winsock;
  LARGE_INTEGER frequency;
  size_t length;
  LARGE_INTEGER start;
  if (count != 6) return 2;
  QueryPerformanceFrequency(&frequency);
  QueryPerformanceCounter(&start);
  platform_attach();
  psa_crypto_init();
  WSAStartup(MAKEWORD(2, 2), &winsock);
  mbedtls_x509_crt_init(&authority);
  mbedtls_x509_crt_init(&certificate);
  mbedtls_pk_init(&key);
  parse_certificate(&authority, arguments[3]);
  parse_certificate(&certificate, arguments[4]);
  const unsigned char *key_text = read_file(arguments[5], &length);
  if (mbedtls_pk_parse_key(&key, key_text, length, NULL, 0, plugin_random, NULL) != 0) return 4;
  mbedtls_ssl_config_init(&config);
  mbedtls_ssl_config_defaults(&config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
  mbedtls_ssl_conf_ca_chain(&config, &authority, NULL);
  mbedtls_ssl_conf_rng(&config, plugin_random, NULL);
  mbedtls_ssl_conf_own_cert(&config, &certificate, &key);
  for (int i = 0; i < atoi(arguments[2]); i++) {
    LARGE_INTEGER end;
    mbedtls_ssl_context tls;
    unsigned char answer[4096];
    static const char request[] = "GET /provider HTTP/1.1\r\nHost: localhost\r\nobject: webapp01\r\nConnection: close\r\n\r\n";
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((u_short)atoi(arguments[1]))};
    BOOL no_delay = TRUE;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (i > 0) QueryPerformanceCounter(&start);
    SOCKET connection = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, (const char *)&no_delay, sizeof no_delay);
    if (connect(connection, (struct sockaddr *)&address, sizeof address) != 0) return 5;
    mbedtls_ssl_init(&tls);
    mbedtls_ssl_setup(&tls, &config);
    mbedtls_ssl_set_hostname(&tls, "localhost");
    mbedtls_ssl_set_bio(&tls, &connection, send_all, receive, NULL);
    if (mbedtls_ssl_handshake(&tls) != 0) return 6;
    mbedtls_ssl_write(&tls, (const unsigned char *)request, sizeof request - 1);
    int got;
    do got = mbedtls_ssl_read(&tls, answer, sizeof answer);
    while (got == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET);
    if (got <= 0) return 7;
    mbedtls_ssl_close_notify(&tls);
    mbedtls_ssl_free(&tls);
    closesocket(connection);
    QueryPerformanceCounter(&end);
    printf("%.3f\n", (double)(end.QuadPart - start.QuadPart) * 1000.0 / (double)frequency.QuadPart);
  }
  return 0;
}
