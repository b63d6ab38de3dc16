/* Writes to the Application log; the sentences are in this DLL's message table. */
#include "event_log.h"
#include "identity.h"

#include <windows.h>

static WORD event_type(enum cause cause) {
  switch (cause) {
    case cause_success:
    case cause_registered:
    case cause_unregistered:
      return EVENTLOG_INFORMATION_TYPE;
    case cause_class_taken:
      return EVENTLOG_WARNING_TYPE;
    default:
      return EVENTLOG_ERROR_TYPE;
  }
}

static void widen(WCHAR *wide, const char *text) {
  do *wide++ = (WCHAR)(unsigned char)*text;
  while (*text++);
}

void log_cause(enum cause cause, const struct note *note) {
  WCHAR account[NOTE_ACCOUNT_SIZE];
  WCHAR detail[NOTE_DETAIL_SIZE];
  const WCHAR *strings[] = {account, detail};
  const HANDLE log = RegisterEventSourceW(NULL, EVENT_SOURCE);

  if (!log) return;
  widen(account, note->account);
  widen(detail, note->detail);
  ReportEventW(log, event_type(cause), 0, CAUSE_HRESULT_BASE | (DWORD)cause, NULL, 2, 0, strings, NULL);
  DeregisterEventSource(log);
}
