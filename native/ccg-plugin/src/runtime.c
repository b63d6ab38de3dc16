/*
 * The handful of C library functions that mbedTLS calls and the compiler may call, and the guard that
 * -fstack-protector-strong checks. With them the DLL needs no C runtime.
 */
#include <stddef.h>
#include <stdint.h>
#include <windows.h>
#include <bcrypt.h>

#include "config.h"

/* Called by name only: by the compiler, and by plugin.c. */
void __stack_chk_fail(void);
void runtime_attach(void);

void *memcpy(void *restrict to, const void *restrict from, size_t size) {
  /* `rep movsb` is the fastest copy of any length on the processors Windows Server 2019 and later run on. */
  void *start = to;
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
  return start;
}

void *memset(void *to, int value, size_t size) {
  void *start = to;
  __asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"((unsigned char)value) : "memory");
  return start;
}

void *memmove(void *to, const void *from, size_t size) {
  unsigned char *target = to;
  const unsigned char *source = from;
  if ((uintptr_t)target - (uintptr_t)source >= size) return memcpy(to, from, size);
  while (size-- > 0) target[size] = source[size];
  return to;
}

int memcmp(const void *left, const void *right, size_t size) {
  const unsigned char *a = left;
  const unsigned char *b = right;
  for (size_t i = 0; i < size; i++) {
    if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
  }
  return 0;
}

size_t strlen(const char *text) {
  size_t length = 0;
  while (text[length]) length++;
  return length;
}

int strncmp(const char *left, const char *right, size_t size) {
  for (size_t i = 0; i < size; i++) {
    if (left[i] != right[i]) return (unsigned char)left[i] < (unsigned char)right[i] ? -1 : 1;
    if (!left[i]) return 0;
  }
  return 0;
}

int strcmp(const char *left, const char *right) { return strncmp(left, right, (size_t)-1); }

char *strstr(const char *text, const char *sought) {
  const size_t length = strlen(sought);
  for (; *text; text++) {
    if (strncmp(text, sought, length) == 0) return (char *)text;
  }
  return length == 0 ? (char *)text : NULL;
}

char *strchr(const char *text, int sought) {
  for (;; text++) {
    if (*text == (char)sought) return (char *)text;
    if (!*text) return NULL;
  }
}

/* The library's texts for people are never asked for; its callers take -1 as a failure. */
int plugin_snprintf(char *text, size_t size, const char *format, ...) {
  (void)format;
  if (size > 0) text[0] = 0;
  return -1;
}

uintptr_t __stack_chk_guard = 0x00000AFF0DBEA12Du;

/* A damaged stack ends the process at once: dllhost, not ccg.exe. 2 is FAST_FAIL_STACK_COOKIE_CHECK_FAILURE. */
__attribute__((noreturn)) void __stack_chk_fail(void) {
  __asm__ volatile("int $0x29" : : "c"(2));
  __builtin_unreachable();
}

/* Called once while the DLL is loaded, by a function that is itself not guarded. A zero byte stops string copies. */
__attribute__((optimize("no-stack-protector"))) void runtime_attach(void) {
  uintptr_t guard = 0;
  if (BCRYPT_SUCCESS(BCryptGenRandom(NULL, (PUCHAR)&guard, sizeof guard, BCRYPT_USE_SYSTEM_PREFERRED_RNG))) {
    __stack_chk_guard = guard & ~(uintptr_t)0xFF;
  }
}
