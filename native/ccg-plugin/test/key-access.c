/*
 * Lets each step of with_key_access fail and checks that every step taken is undone, in the opposite
 * order. Runs under Wine or Windows; touches no registry.
 */
#include "../src/key_access.h"

#include <stdio.h>
#include <string.h>

/* The steps by letter; `failing` fails, and so does the first `open` unless it is to succeed. */
struct script {
  char failing;
  int opens;
  int open_at_once;
  char log[64];
};

static DWORD step(struct script *script, char letter) {
  const char text[2] = {letter, 0};
  strcat(script->log, text);
  return letter == script->failing ? ERROR_INVALID_FUNCTION : ERROR_SUCCESS;
}

static DWORD fake_open(void *context, HKEY *key) {
  struct script *script = context;
  *key = NULL;
  script->opens++;
  if (script->opens == 1 && !script->open_at_once) {
    strcat(script->log, "o");
    return script->failing == 'o' ? ERROR_FILE_NOT_FOUND : ERROR_ACCESS_DENIED;
  }
  return step(script, 'O');
}
static void fake_close(void *context, HKEY key) { (void)key; step(context, 'C'); }
static DWORD fake_enable(void *context) { return step(context, 'P'); }
static void fake_restore_privileges(void *context) { step(context, 'p'); }
static DWORD fake_remember(void *context) { return step(context, 'R'); }
static void fake_forget(void *context) { step(context, 'r'); }
static DWORD fake_take(void *context) { return step(context, 'T'); }
static DWORD fake_restore_owner(void *context) { return step(context, 't'); }
static DWORD fake_grant(void *context) { return step(context, 'G'); }
static DWORD fake_restore_access(void *context) { return step(context, 'g'); }
static DWORD act(HKEY key, void *context) { (void)key; return step(context, 'A'); }

int main(void) {
  static const struct {
    const char *name;
    char failing;
    int open_at_once;
    const char *log;
    DWORD result;
  } cases[] = {
      {"a key that can be opened is used as it is", 0, 1, "OAC", ERROR_SUCCESS},
      {"a failing action on such a key is reported", 'A', 1, "OAC", ERROR_INVALID_FUNCTION},
      {"a key that is not there is not fought for", 'o', 0, "o", ERROR_FILE_NOT_FOUND},
      {"a denied key is taken, granted, used and given back", 0, 0, "oPRTGOACgtrp", ERROR_SUCCESS},
      {"without the privileges nothing is touched", 'P', 0, "oP", ERROR_INVALID_FUNCTION},
      {"without a remembered owner nothing is taken", 'R', 0, "oPRp", ERROR_INVALID_FUNCTION},
      {"a failed taking leaves privileges as they were", 'T', 0, "oPRTrp", ERROR_INVALID_FUNCTION},
      {"a failed grant gives the owner back", 'G', 0, "oPRTGtrp", ERROR_INVALID_FUNCTION},
      {"a failed second opening gives all back", 'O', 0, "oPRTGOgtrp", ERROR_INVALID_FUNCTION},
      {"a failed action gives all back", 'A', 0, "oPRTGOACgtrp", ERROR_INVALID_FUNCTION},
      {"access that cannot be given back is a failure, and the owner still is", 'g', 0, "oPRTGOACgtrp", ERROR_INVALID_FUNCTION},
      {"an owner that cannot be given back is a failure", 't', 0, "oPRTGOACgtrp", ERROR_INVALID_FUNCTION},
  };
  int failed = 0;
  const int count = (int)(sizeof cases / sizeof *cases);
  for (int i = 0; i < count; i++) {
    struct script script = {cases[i].failing, 0, cases[i].open_at_once, ""};
    const struct key_security security = {&script,     fake_open,          fake_close,   fake_enable,
                                          fake_restore_privileges, fake_remember, fake_forget, fake_take,
                                          fake_restore_owner,      fake_grant,    fake_restore_access};
    const DWORD result = with_key_access(&security, act, &script);
    if (result == cases[i].result && strcmp(script.log, cases[i].log) == 0) continue;
    failed++;
    printf("FAILED %s: %s, %lu\n", cases[i].name, script.log, result);
  }
  printf("key access %d passed, %d failed\n", count - failed, failed);
  return failed == 0 ? 0 : 1;
}
