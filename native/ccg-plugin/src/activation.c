/* Activates the registered class and reports the outcome. */
#include "activation.h"
#include "ccg.h"
#include "identity.h"

#define PATH_UNITS 1024
#define LINE_SIZE 32

static HRESULT activate(DWORD context) {
  static const GUID plugin_class = PLUGIN_CLASS_GUID;
  static const GUID ccg_interface = CCG_INTERFACE_GUID;
  void *plugin = NULL;
  const HRESULT result = CoCreateInstance(&plugin_class, NULL, context, &ccg_interface, &plugin);
  if (SUCCEEDED(result)) ((ccg_credentials *)plugin)->table->Release(plugin);
  return result;
}

static BOOL is_member(WELL_KNOWN_SID_TYPE type) {
  BYTE sid[SECURITY_MAX_SID_SIZE];
  DWORD size = sizeof sid;
  BOOL member = FALSE;
  return CreateWellKnownSid(type, NULL, sid, &size) && CheckTokenMembership(NULL, sid, &member) && member;
}

static DWORD write_line(HANDLE file, const char *word, DWORD value) {
  char line[LINE_SIZE];
  DWORD length = 0;
  DWORD written = 0;
  while (*word) line[length++] = *word++;
  line[length++] = ' ';
  for (int shift = 28; shift >= 0; shift -= 4) line[length++] = "0123456789ABCDEF"[value >> shift & 0xF];
  line[length++] = '\n';
  return WriteFile(file, line, length, &written, NULL) ? ERROR_SUCCESS : GetLastError();
}

HRESULT report_activation(HINSTANCE module) {
  WCHAR path[PATH_UNITS];
  const DWORD length = GetModuleFileNameW(module, path, PATH_UNITS);
  if (length == 0 || length + sizeof ".activation" > PATH_UNITS) return E_FAIL;
  lstrcpyW(path + length, L".activation");
  const HANDLE file = CreateFileW(path, GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, FILE_ATTRIBUTE_NORMAL, NULL);
  if (file == INVALID_HANDLE_VALUE) return HRESULT_FROM_WIN32(GetLastError());

  DWORD error = write_line(file, "in-process", (DWORD)activate(CLSCTX_INPROC_SERVER));
  if (error == ERROR_SUCCESS) error = write_line(file, "surrogate", (DWORD)activate(CLSCTX_LOCAL_SERVER));
  if (error == ERROR_SUCCESS) {
    error = write_line(file, "launcher", is_member(WinLocalSystemSid) || is_member(WinServiceSid));
  }
  CloseHandle(file);
  return error == ERROR_SUCCESS ? S_OK : HRESULT_FROM_WIN32(error);
}
