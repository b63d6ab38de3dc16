/* The few services of Windows below mbedTLS and the parsers. */
#include "platform.h"

#include <windows.h>
#include <bcrypt.h>

#include "mbedtls/error.h"
#include "mbedtls/platform.h"
#include "mbedtls/platform_time.h"
#include "mbedtls/platform_util.h"
#include "mbedtls/threading.h"
#include "psa/crypto.h"
#include "psa/crypto_extra.h"

/* From 1601 to 1970, in 100 ns. */
#define UNIX_EPOCH 116444736000000000ull

void *plugin_calloc(size_t count, size_t size) {
  if (size != 0 && count > (size_t)-1 / size) return NULL;
  return HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, count * size);
}

void plugin_free(void *memory) {
  if (!memory) return;
  const SIZE_T size = HeapSize(GetProcessHeap(), 0, memory);
  if (size != (SIZE_T)-1) SecureZeroMemory(memory, size);
  HeapFree(GetProcessHeap(), 0, memory);
}

void plugin_wipe(void *memory, size_t size) { SecureZeroMemory(memory, size); }

void mbedtls_platform_zeroize(void *memory, size_t size) {
  if (size > 0) SecureZeroMemory(memory, size);
}

uint64_t plugin_ticks(void) { return GetTickCount64(); }

mbedtls_ms_time_t mbedtls_ms_time(void) { return (mbedtls_ms_time_t)GetTickCount64(); }

int64_t plugin_time(int64_t *now) {
  FILETIME time;
  GetSystemTimeAsFileTime(&time);
  const uint64_t ticks = (uint64_t)time.dwHighDateTime << 32 | time.dwLowDateTime;
  const int64_t seconds = (int64_t)((ticks - UNIX_EPOCH) / 10000000u);
  if (now) *now = seconds;
  return seconds;
}

struct tm *mbedtls_platform_gmtime_r(const mbedtls_time_t *seconds, struct tm *out) {
  const uint64_t ticks = (uint64_t)*seconds * 10000000u + UNIX_EPOCH;
  const FILETIME time = {(DWORD)ticks, (DWORD)(ticks >> 32)};
  SYSTEMTIME utc;
  if (!FileTimeToSystemTime(&time, &utc)) return NULL;
  SecureZeroMemory(out, sizeof *out);
  out->tm_year = utc.wYear - 1900;
  out->tm_mon = utc.wMonth - 1;
  out->tm_mday = utc.wDay;
  out->tm_hour = utc.wHour;
  out->tm_min = utc.wMinute;
  out->tm_sec = utc.wSecond;
  return out;
}

int plugin_random(void *unused, unsigned char *output, size_t length) {
  (void)unused;
  if (length > 0xFFFFFFFFu) return MBEDTLS_ERR_ERROR_GENERIC_ERROR;
  return BCRYPT_SUCCESS(BCryptGenRandom(NULL, output, (ULONG)length, BCRYPT_USE_SYSTEM_PREFERRED_RNG))
             ? 0
             : MBEDTLS_ERR_ERROR_GENERIC_ERROR;
}

psa_status_t mbedtls_psa_external_get_random(mbedtls_psa_external_random_context_t *context,
                                             uint8_t *output, size_t size, size_t *length) {
  (void)context;
  if (plugin_random(NULL, output, size) != 0) return PSA_ERROR_INSUFFICIENT_ENTROPY;
  *length = size;
  return PSA_SUCCESS;
}

static void mutex_init(mbedtls_threading_mutex_t *mutex) { mutex->lock = NULL; }
static void mutex_free(mbedtls_threading_mutex_t *mutex) { mutex->lock = NULL; }

static int mutex_lock(mbedtls_threading_mutex_t *mutex) {
  AcquireSRWLockExclusive((SRWLOCK *)&mutex->lock);
  return 0;
}

static int mutex_unlock(mbedtls_threading_mutex_t *mutex) {
  ReleaseSRWLockExclusive((SRWLOCK *)&mutex->lock);
  return 0;
}

void platform_attach(void) { mbedtls_threading_set_alt(mutex_init, mutex_free, mutex_lock, mutex_unlock); }

void platform_detach(void) {
  mbedtls_psa_crypto_free();
  mbedtls_threading_free_alt();
}
