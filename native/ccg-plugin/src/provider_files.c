/* Reads the account provider's files. */
#include "provider_files.h"
#include "platform.h"
#include "plugin_input.h"
#include "port_file.h"

#include <string.h>
#include <windows.h>

/*
 * The prefix \\?\ keeps Windows from reading anything into the path: no device names (a namespace may
 * be called `con`), no dots, no current drive.
 */
static const WCHAR base_directory[] = L"\\\\?\\C:\\var\\lib\\rancher\\gmsa\\";

#define PATH_UNITS 160
#define SHARING_TRIES 10
#define SHARING_PAUSE_MS 10

static void make_path(WCHAR *path, const char *directory_name, const WCHAR *file) {
  size_t at = 0;
  for (const WCHAR *from = base_directory; *from;) path[at++] = *from++;
  for (const char *from = directory_name; *from;) path[at++] = (WCHAR)(unsigned char)*from++;
  for (const WCHAR *from = file; *from;) path[at++] = *from++;
  path[at] = 0;
}

/* A file that is being renamed over answers for a moment as if it were locked or denied. */
static HANDLE open_file(const WCHAR *path) {
  for (int tries = 1;; tries++) {
    const HANDLE file = CreateFileW(path, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL,
                                    OPEN_EXISTING, FILE_FLAG_SEQUENTIAL_SCAN, NULL);
    if (file != INVALID_HANDLE_VALUE || tries == SHARING_TRIES) return file;
    const DWORD error = GetLastError();
    if (error != ERROR_SHARING_VIOLATION && error != ERROR_ACCESS_DENIED && error != ERROR_DELETE_PENDING) return file;
    Sleep(SHARING_PAUSE_MS);
    SetLastError(error);
  }
}

/* Reads a whole file; 0 or the Windows error. An over-long one is ERROR_FILE_TOO_LARGE. */
static DWORD read_file(const WCHAR *path, struct file_text *text) {
  LARGE_INTEGER size;
  DWORD error = ERROR_SUCCESS;
  size_t filled = 0;
  const HANDLE file = open_file(path);

  text->bytes = NULL;
  text->length = 0;
  if (file == INVALID_HANDLE_VALUE) return GetLastError();
  if (!GetFileSizeEx(file, &size)) error = GetLastError();
  else if (size.QuadPart > (LONGLONG)PROVIDER_FILE_MAX) error = ERROR_FILE_TOO_LARGE;
  else {
    text->bytes = plugin_calloc(1, (size_t)size.QuadPart + 1);
    if (!text->bytes) error = ERROR_NOT_ENOUGH_MEMORY;
  }
  while (error == ERROR_SUCCESS && filled < (size_t)size.QuadPart) {
    DWORD count = 0;
    if (!ReadFile(file, text->bytes + filled, (DWORD)((size_t)size.QuadPart - filled), &count, NULL)) error = GetLastError();
    else if (count == 0) break;
    filled += count;
  }
  CloseHandle(file);
  if (error != ERROR_SUCCESS) {
    plugin_free(text->bytes);
    text->bytes = NULL;
    return error;
  }
  text->length = filled + 1;
  return ERROR_SUCCESS;
}

/* What a Windows error means for one of the files. */
static enum cause file_cause(DWORD error, enum cause missing, const char *name, struct note *note) {
  switch (error) {
    case ERROR_FILE_NOT_FOUND:
    case ERROR_PATH_NOT_FOUND:
      return missing;
    case ERROR_NOT_ENOUGH_MEMORY:
      return cause_out_of_memory;
    default:
      note_text(note, name);
      note_text(note, ", Windows error ");
      note_number(note, error);
      return error == ERROR_ACCESS_DENIED ? cause_file_denied : cause_file_unreadable;
  }
}

static int directory_exists(const char *directory_name) {
  WCHAR path[PATH_UNITS];
  make_path(path, directory_name, L"");
  const DWORD attributes = GetFileAttributesW(path);
  /* What may not be looked at exists: the file's own error says more than this one. */
  return attributes != INVALID_FILE_ATTRIBUTES || GetLastError() == ERROR_ACCESS_DENIED;
}

static enum cause read_port(const char *directory_name, uint16_t *port, struct note *note) {
  WCHAR path[PATH_UNITS];
  struct file_text text;

  make_path(path, directory_name, L"\\port.txt");
  const DWORD error = read_file(path, &text);
  if (error != ERROR_SUCCESS) {
    if ((error == ERROR_FILE_NOT_FOUND || error == ERROR_PATH_NOT_FOUND) && !directory_exists(directory_name)) {
      note_text(note, "C:\\var\\lib\\rancher\\gmsa\\");
      note_text(note, directory_name);
      return cause_directory_missing;
    }
    if (error == ERROR_FILE_TOO_LARGE) return cause_port_invalid;
    return file_cause(error, cause_port_missing, "port.txt", note);
  }
  const enum cause cause = parse_port(text.bytes, text.length - 1, port);
  plugin_free(text.bytes);
  return cause;
}

static enum cause read_one(const char *directory_name, const WCHAR *file, const char *name, enum cause missing,
                           struct file_text *text, struct note *note) {
  WCHAR path[PATH_UNITS];
  make_path(path, directory_name, file);
  const DWORD error = read_file(path, text);
  return error == ERROR_SUCCESS ? cause_success : file_cause(error, missing, name, note);
}

enum cause read_provider_files(const char *directory_name, struct provider_files *files, struct note *note) {
  memset(files, 0, sizeof *files);
  enum cause cause = read_port(directory_name, &files->port, note);
  if (cause == cause_success) {
    cause = read_one(directory_name, L"\\ssl\\ca\\ca.crt", "ssl\\ca\\ca.crt", cause_ca_missing, &files->authority, note);
  }
  if (cause == cause_success) {
    cause = read_one(directory_name, L"\\ssl\\client\\tls.crt", "ssl\\client\\tls.crt", cause_certificate_missing,
                     &files->certificate, note);
  }
  if (cause == cause_success) {
    cause = read_one(directory_name, L"\\ssl\\client\\tls.key", "ssl\\client\\tls.key", cause_key_missing, &files->key,
                     note);
  }
  if (cause != cause_success) release_provider_files(files);
  return cause;
}

void release_provider_files(struct provider_files *files) {
  plugin_free(files->authority.bytes);
  plugin_free(files->certificate.bytes);
  plugin_free(files->key.bytes);
  memset(files, 0, sizeof *files);
}

static int same_text(const struct file_text *left, const struct file_text *right) {
  return left->length == right->length && memcmp(left->bytes, right->bytes, left->length) == 0;
}

int same_provider_files(const struct provider_files *left, const struct provider_files *right) {
  return left->port == right->port && same_text(&left->authority, &right->authority) &&
         same_text(&left->certificate, &right->certificate) && same_text(&left->key, &right->key);
}
