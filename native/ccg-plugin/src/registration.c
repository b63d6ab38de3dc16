/* Writes, checks and removes the plugin's registry keys. */
#include "registration.h"
#include "event_log.h"
#include "identity.h"
#include "key_access.h"
#include "platform.h"

#include <sddl.h>
#include <string.h>

#define CLASSES L"SOFTWARE\\Classes\\"
#define COM_CLASSES L"SYSTEM\\CurrentControlSet\\Control\\CCG\\COMClasses"
#define EVENT_SOURCE_KEY L"SYSTEM\\CurrentControlSet\\Services\\EventLog\\Application\\" EVENT_SOURCE
#define PLUGIN_CLASS_KEY CLASSES L"CLSID\\" PLUGIN_CLASS_ID
#define APP_KEY CLASSES L"AppID\\" PLUGIN_APP_ID
#define INTERFACE_KEY CLASSES L"Interface\\" CCG_INTERFACE_ID

/* EXECUTE, EXECUTE_LOCAL and ACTIVATE_LOCAL for SYSTEM and services, or for every authenticated user. */
#define PERMISSION_SERVICES L"O:BAG:BAD:(A;;0xB;;;SY)(A;;0xB;;;SU)"
#define PERMISSION_USERS L"O:BAG:BAD:(A;;0xB;;;SY)(A;;0xB;;;AU)"

#define PATH_UNITS 1024
#define VALUES_MAX 32
#define VALUE_SIZE_MAX 4096

#define FOREIGN_KEY_UNITS 128

/*
 * A class id of another plugin. What it was before it became ours is kept below the settings until it is given
 * back: the sub-key CLSID, if another plugin had it, and whether CCG was allowed to use that.
 */
struct foreign_class {
  const WCHAR *id;
  const WCHAR *kept_name;
  WCHAR key[FOREIGN_KEY_UNITS];
  WCHAR server_key[FOREIGN_KEY_UNITS];
  WCHAR kept_key[FOREIGN_KEY_UNITS];
  WCHAR kept_class_key[FOREIGN_KEY_UNITS];
};

enum { REPLACED, KEY_VAULT, FOREIGN_CLASSES };

static void join(WCHAR *path, const WCHAR *parent, const WCHAR *name) {
  lstrcpyW(path, parent);
  lstrcatW(path, name);
}

static void list_foreign_classes(struct foreign_class *foreign) {
  foreign[REPLACED].id = REPLACED_CLASS_ID;
  foreign[REPLACED].kept_name = L"Replaced";
  foreign[KEY_VAULT].id = KEY_VAULT_CLASS_ID;
  foreign[KEY_VAULT].kept_name = L"ReplacedKeyVault";
  for (int i = 0; i < FOREIGN_CLASSES; i++) {
    join(foreign[i].key, CLASSES L"CLSID\\", foreign[i].id);
    join(foreign[i].server_key, foreign[i].key, L"\\InprocServer32");
    join(foreign[i].kept_key, SETTINGS_KEY L"\\", foreign[i].kept_name);
    join(foreign[i].kept_class_key, foreign[i].kept_key, L"\\CLSID");
  }
}

/* One registry value to be written: below HKEY_LOCAL_MACHINE, or below the allowed classes. */
struct value {
  const WCHAR *key;
  const WCHAR *name; /* NULL: the key's default value */
  const void *data;
  DWORD size;
  DWORD type;
};

struct value_list {
  struct value values[VALUES_MAX];
  int count;
};

/* What a write replaced, so that it can be put back. */
struct journal_entry {
  const struct value *value;
  BYTE *old_data; /* NULL: there was no such value */
  DWORD old_size;
  DWORD old_type;
  BOOL key_created;
};

struct journal {
  struct journal_entry entries[VALUES_MAX];
  int count;
};

static DWORD text_size(const WCHAR *text) { return (DWORD)((size_t)lstrlenW(text) + 1) * sizeof *text; }

static void add_text(struct value_list *list, const WCHAR *key, const WCHAR *name, const WCHAR *text) {
  const struct value value = {key, name, text, text_size(text), REG_SZ};
  list->values[list->count++] = value;
}

static void add_bytes(struct value_list *list, const WCHAR *key, const WCHAR *name, DWORD type, const void *data,
                      DWORD size) {
  const struct value value = {key, name, data, size, type};
  list->values[list->count++] = value;
}

static void note_wide(struct note *note, const WCHAR *text) {
  char narrow[NOTE_ACCOUNT_SIZE];
  size_t i = 0;
  for (; text[i] && i + 1 < sizeof narrow; i++) narrow[i] = text[i] < 0x7F ? (char)text[i] : '?';
  narrow[i] = 0;
  lstrcpynA(note->account, narrow, NOTE_ACCOUNT_SIZE);
}

static void note_failure(struct note *note, const WCHAR *what, DWORD error) {
  note_wide(note, what);
  note_clear_detail(note);
  note_text(note, "Windows error ");
  note_number(note, error);
}

static DWORD open_key(const WCHAR *path, REGSAM access, HKEY *key) {
  return (DWORD)RegOpenKeyExW(HKEY_LOCAL_MACHINE, path, 0, access | KEY_WOW64_64KEY, key);
}

static BOOL key_exists(const WCHAR *path) {
  HKEY key;
  if (open_key(path, KEY_READ, &key) != ERROR_SUCCESS) return FALSE;
  RegCloseKey(key);
  return TRUE;
}

static DWORD delete_tree(const WCHAR *parent, const WCHAR *name) {
  HKEY key;
  DWORD error = open_key(parent, KEY_READ | KEY_WRITE | DELETE, &key);
  if (error == ERROR_FILE_NOT_FOUND) return ERROR_SUCCESS;
  if (error != ERROR_SUCCESS) return error;
  error = (DWORD)RegDeleteTreeW(key, name);
  RegCloseKey(key);
  return error == ERROR_FILE_NOT_FOUND ? ERROR_SUCCESS : error;
}

/* Reads a value into new memory; ERROR_FILE_NOT_FOUND when it isn't there. */
static DWORD read_value(HKEY key, const WCHAR *name, BYTE **data, DWORD *size, DWORD *type) {
  *size = 0;
  *data = NULL;
  DWORD error = (DWORD)RegQueryValueExW(key, name, NULL, type, NULL, size);
  if (error != ERROR_SUCCESS) return error;
  if (*size > VALUE_SIZE_MAX) return ERROR_MORE_DATA;
  *data = plugin_calloc(1, *size + 1);
  if (!*data) return ERROR_NOT_ENOUGH_MEMORY;
  error = (DWORD)RegQueryValueExW(key, name, NULL, type, *data, size);
  if (error != ERROR_SUCCESS) {
    plugin_free(*data);
    *data = NULL;
  }
  return error;
}

static DWORD write_value(const struct value *value, struct journal *journal) {
  struct journal_entry *entry = &journal->entries[journal->count];
  DWORD disposition = 0;
  HKEY key;

  DWORD error = (DWORD)RegCreateKeyExW(HKEY_LOCAL_MACHINE, value->key, 0, NULL, 0, KEY_READ | KEY_WRITE | KEY_WOW64_64KEY,
                                       NULL, &key, &disposition);
  if (error != ERROR_SUCCESS) return error;
  entry->value = value;
  entry->key_created = disposition == REG_CREATED_NEW_KEY;
  error = read_value(key, value->name, &entry->old_data, &entry->old_size, &entry->old_type);
  if (error == ERROR_SUCCESS || error == ERROR_FILE_NOT_FOUND) {
    journal->count++;
    error = (DWORD)RegSetValueExW(key, value->name, 0, value->type, value->data, value->size);
  }
  RegCloseKey(key);
  return error;
}

/* Splits a path at its last backslash and removes the key, if nothing but us has put anything there. */
static void delete_created_key(const WCHAR *path) {
  RegDeleteKeyExW(HKEY_LOCAL_MACHINE, path, KEY_WOW64_64KEY, 0);
}

static void undo_writes(struct journal *journal) {
  while (journal->count > 0) {
    struct journal_entry *entry = &journal->entries[--journal->count];
    HKEY key;
    if (open_key(entry->value->key, KEY_READ | KEY_WRITE, &key) == ERROR_SUCCESS) {
      if (entry->old_data) RegSetValueExW(key, entry->value->name, 0, entry->old_type, entry->old_data, entry->old_size);
      else RegDeleteValueW(key, entry->value->name);
      RegCloseKey(key);
    }
    if (entry->key_created) delete_created_key(entry->value->key);
    plugin_free(entry->old_data);
    entry->old_data = NULL;
  }
}

static void forget_writes(struct journal *journal) {
  while (journal->count > 0) plugin_free(journal->entries[--journal->count].old_data);
}

static BOOL holds(const struct value *value) {
  BYTE *data = NULL;
  DWORD size = 0;
  DWORD type = 0;
  HKEY key;

  if (open_key(value->key, KEY_READ, &key) != ERROR_SUCCESS) return FALSE;
  const DWORD error = read_value(key, value->name, &data, &size, &type);
  RegCloseKey(key);
  const BOOL same = error == ERROR_SUCCESS && type == value->type && size == value->size &&
                    memcmp(data, value->data, size) == 0;
  plugin_free(data);
  return same;
}

/* Whether a class is registered with our AppID, wherever our file was when that was done. */
static BOOL class_is_ours(const WCHAR *class_key) {
  WCHAR app_id[64];
  DWORD size = sizeof app_id;
  return RegGetValueW(HKEY_LOCAL_MACHINE, class_key, L"AppID", RRF_RT_REG_SZ | RRF_SUBKEY_WOW6464KEY, NULL, app_id,
                      &size) == ERROR_SUCCESS &&
         lstrcmpiW(app_id, PLUGIN_APP_ID) == 0;
}

static void list_class(struct value_list *list, const WCHAR *key, const WCHAR *server_key, const WCHAR *path) {
  add_text(list, key, NULL, PLUGIN_NAME);
  add_text(list, key, L"AppID", PLUGIN_APP_ID);
  add_text(list, server_key, NULL, path);
  add_text(list, server_key, L"ThreadingModel", L"Both");
}

/* Everything that is written outside the allowed classes. */
static void list_values(struct value_list *list, const WCHAR *path, const void *permission, DWORD permission_size,
                        const struct foreign_class *foreign, const BOOL *answered) {
  static const DWORD event_types = EVENTLOG_ERROR_TYPE | EVENTLOG_WARNING_TYPE | EVENTLOG_INFORMATION_TYPE;

  add_text(list, EVENT_SOURCE_KEY, L"EventMessageFile", path);
  add_bytes(list, EVENT_SOURCE_KEY, L"TypesSupported", REG_DWORD, &event_types, sizeof event_types);
  add_text(list, APP_KEY, NULL, PLUGIN_NAME);
  add_text(list, APP_KEY, L"DllSurrogate", L"");
  add_bytes(list, APP_KEY, L"AccessPermission", REG_BINARY, permission, permission_size);
  add_bytes(list, APP_KEY, L"LaunchPermission", REG_BINARY, permission, permission_size);
  if (!key_exists(INTERFACE_KEY L"\\ProxyStubClsid32")) {
    add_text(list, INTERFACE_KEY, NULL, CCG_INTERFACE_NAME);
    add_text(list, INTERFACE_KEY L"\\ProxyStubClsid32", NULL, CCG_PROXY_CLASS_ID);
  }
  list_class(list, PLUGIN_CLASS_KEY, PLUGIN_CLASS_KEY L"\\InprocServer32", path);
  for (int i = 0; i < FOREIGN_CLASSES; i++) {
    if (answered[i]) list_class(list, foreign[i].key, foreign[i].server_key, path);
  }
}

/* The allowed classes: made or removed while the key is writable. */
struct allowed_classes {
  const WCHAR *names[1 + FOREIGN_CLASSES];
  BOOL created[1 + FOREIGN_CLASSES]; /* by make_allowed, for undoing */
  int count;
};

static DWORD make_allowed(HKEY parent, void *context) {
  struct allowed_classes *classes = context;
  for (int i = 0; i < classes->count; i++) {
    DWORD disposition = 0;
    HKEY key;
    DWORD error = (DWORD)RegCreateKeyExW(parent, classes->names[i], 0, NULL, 0, KEY_READ | KEY_WRITE, NULL, &key,
                                         &disposition);
    if (error == ERROR_SUCCESS) {
      classes->created[i] = disposition == REG_CREATED_NEW_KEY;
      error = (DWORD)RegSetValueExW(key, NULL, 0, REG_SZ, (const BYTE *)L"", sizeof(WCHAR));
      RegCloseKey(key);
    }
    if (error != ERROR_SUCCESS) {
      for (; i >= 0; i--) {
        if (classes->created[i]) RegDeleteKeyExW(parent, classes->names[i], KEY_WOW64_64KEY, 0);
      }
      return error;
    }
  }
  return ERROR_SUCCESS;
}

static DWORD remove_allowed(HKEY parent, void *context) {
  const struct allowed_classes *classes = context;
  DWORD error = ERROR_SUCCESS;
  for (int i = 0; i < classes->count; i++) {
    const DWORD one = (DWORD)RegDeleteTreeW(parent, classes->names[i]);
    if (one != ERROR_SUCCESS && one != ERROR_FILE_NOT_FOUND) error = one;
  }
  return error;
}

static DWORD change_allowed(key_action action, struct allowed_classes *classes) {
  struct real_key_security security;
  init_real_key_security(&security, COM_CLASSES);
  return with_key_access(&security.calls, action, classes);
}

static void undo_allowed(struct allowed_classes *classes) {
  struct allowed_classes made;
  made.count = 0;
  for (int i = 0; i < classes->count; i++) {
    if (classes->created[i]) made.names[made.count++] = classes->names[i];
  }
  if (made.count > 0) change_allowed(remove_allowed, &made);
}

static BOOL is_allowed(const WCHAR *class_id) {
  BOOL allowed = FALSE;
  HKEY key;
  HKEY class_key;
  if (open_key(COM_CLASSES, KEY_READ, &key) != ERROR_SUCCESS) return FALSE;
  if (RegOpenKeyExW(key, class_id, 0, KEY_READ, &class_key) == ERROR_SUCCESS) {
    allowed = TRUE;
    RegCloseKey(class_key);
  }
  RegCloseKey(key);
  return allowed;
}

/* Copies the tree below one key to a new one, and removes the original only when that went well. */
static DWORD move_tree(const WCHAR *from, const WCHAR *to, const WCHAR *from_parent, const WCHAR *from_name) {
  HKEY source;
  HKEY target;
  DWORD error = open_key(from, KEY_READ, &source);
  if (error != ERROR_SUCCESS) return error;
  error = (DWORD)RegCreateKeyExW(HKEY_LOCAL_MACHINE, to, 0, NULL, 0, KEY_READ | KEY_WRITE | KEY_WOW64_64KEY, NULL, &target,
                                 NULL);
  if (error == ERROR_SUCCESS) {
    error = (DWORD)RegCopyTreeW(source, NULL, target);
    RegCloseKey(target);
  }
  RegCloseKey(source);
  if (error == ERROR_SUCCESS) error = delete_tree(from_parent, from_name);
  return error;
}

/* Keeps what a class id is before it becomes ours: another plugin's registration, or nothing. */
static DWORD keep_foreign_class(const struct foreign_class *class, BOOL held_by_other) {
  const DWORD was_allowed = held_by_other && is_allowed(class->id);
  DWORD error = delete_tree(SETTINGS_KEY, class->kept_name);
  if (error == ERROR_SUCCESS && held_by_other) {
    error = move_tree(class->key, class->kept_class_key, CLASSES L"CLSID", class->id);
  }
  if (error != ERROR_SUCCESS) return error;
  HKEY key;
  error = (DWORD)RegCreateKeyExW(HKEY_LOCAL_MACHINE, class->kept_key, 0, NULL, 0, KEY_WRITE | KEY_WOW64_64KEY, NULL, &key,
                                 NULL);
  if (error != ERROR_SUCCESS) return error;
  error = (DWORD)RegSetValueExW(key, L"WasAllowed", 0, REG_DWORD, (const BYTE *)&was_allowed, sizeof was_allowed);
  RegCloseKey(key);
  return error;
}

static BOOL was_foreign_class_allowed(const struct foreign_class *class) {
  DWORD allowed = 0;
  DWORD size = sizeof allowed;
  return RegGetValueW(HKEY_LOCAL_MACHINE, class->kept_key, L"WasAllowed", RRF_RT_REG_DWORD | RRF_SUBKEY_WOW6464KEY, NULL,
                      &allowed, &size) == ERROR_SUCCESS &&
         allowed != 0;
}

/*
 * Gives back the registration alone; what CCG is allowed to use is another key's matter. A plugin that has
 * registered itself over ours has taken the class id back already.
 */
static DWORD give_foreign_class_back(const struct foreign_class *class) {
  DWORD error = ERROR_SUCCESS;
  if (class_is_ours(class->key)) error = delete_tree(CLASSES L"CLSID", class->id);
  if (error == ERROR_SUCCESS && key_exists(class->kept_class_key) && !key_exists(class->key)) {
    error = move_tree(class->kept_class_key, class->key, class->kept_key, L"CLSID");
  }
  return error == ERROR_SUCCESS ? delete_tree(SETTINGS_KEY, class->kept_name) : error;
}

/* Whether a class id became ours, even if its registration has been deleted since by somebody else. */
static BOOL is_foreign_class_ours(const struct foreign_class *class) {
  return class_is_ours(class->key) || (key_exists(class->kept_key) && !key_exists(class->key));
}

static HRESULT finish(enum cause cause, const struct note *note, HRESULT result) {
  log_cause(cause, note);
  return result;
}

static HRESULT fail(enum cause cause, const struct note *note) {
  return finish(cause, note, (HRESULT)(CAUSE_HRESULT_BASE | (uint32_t)cause));
}

/* Writes all values and the allowed classes, then compares; on failure nothing of it is left. */
static enum cause write_all(const struct value_list *list, struct allowed_classes *classes, struct note *note) {
  struct journal journal;
  memset(&journal, 0, sizeof journal);
  enum cause cause = cause_success;

  for (int i = 0; i < list->count; i++) {
    const DWORD error = write_value(&list->values[i], &journal);
    if (error != ERROR_SUCCESS) {
      note_failure(note, list->values[i].key, error);
      undo_writes(&journal);
      return cause_registration_failed;
    }
  }
  const DWORD error = change_allowed(make_allowed, classes);
  if (error != ERROR_SUCCESS) {
    note_failure(note, COM_CLASSES, error);
    undo_writes(&journal);
    return cause_registration_failed;
  }
  for (int i = 0; i < list->count && cause == cause_success; i++) {
    if (holds(&list->values[i])) continue;
    note_wide(note, list->values[i].key);
    cause = cause_readback_differs;
  }
  for (int i = 0; i < classes->count && cause == cause_success; i++) {
    if (is_allowed(classes->names[i])) continue;
    note_wide(note, COM_CLASSES);
    cause = cause_readback_differs;
  }
  if (cause != cause_success) {
    undo_allowed(classes);
    undo_writes(&journal);
  }
  forget_writes(&journal);
  return cause;
}

/* Makes the class ids that the options ask for ours, as far as they may be, and tells which; `kept` are those it kept. */
static DWORD claim_foreign_classes(const struct registration_options *options, const struct foreign_class *foreign,
                                   BOOL *answered, BOOL *kept, struct note *note) {
  for (int i = 0; i < FOREIGN_CLASSES; i++) {
    const struct foreign_class *class = &foreign[i];
    const BOOL held_by_other = key_exists(class->key) && !class_is_ours(class->key);
    answered[i] = (i != KEY_VAULT || options->answer_key_vault) && (!held_by_other || options->take_over);
    if (!answered[i] || (!held_by_other && (class_is_ours(class->key) || key_exists(class->kept_key)))) continue;
    const DWORD error = keep_foreign_class(class, held_by_other);
    kept[i] = TRUE;
    if (error == ERROR_SUCCESS) continue;
    note_failure(note, class->key, error);
    return error;
  }
  return ERROR_SUCCESS;
}

/* Removes a key that holds nothing. */
static void delete_if_empty(const WCHAR *path) {
  DWORD keys = 1;
  DWORD values = 1;
  HKEY key;
  if (open_key(path, KEY_READ, &key) != ERROR_SUCCESS) return;
  const LSTATUS error = RegQueryInfoKeyW(key, NULL, NULL, NULL, &keys, NULL, NULL, &values, NULL, NULL, NULL, NULL);
  RegCloseKey(key);
  if (error == ERROR_SUCCESS && keys == 0 && values == 0) delete_created_key(path);
}

static void delete_empty_settings(void) {
  delete_if_empty(SETTINGS_KEY);
  delete_if_empty(SETTINGS_PARENT);
}

static void unclaim_foreign_classes(const struct foreign_class *foreign, const BOOL *kept) {
  for (int i = 0; i < FOREIGN_CLASSES; i++) {
    if (kept[i]) give_foreign_class_back(&foreign[i]);
  }
  delete_empty_settings();
}

/* A class id that is ours and no longer wanted goes back to what it was. */
static DWORD release_foreign_class(const struct foreign_class *class) {
  struct allowed_classes classes;
  classes.names[0] = class->id;
  classes.count = 1;
  if (is_allowed(class->id) && !was_foreign_class_allowed(class)) {
    const DWORD error = change_allowed(remove_allowed, &classes);
    if (error != ERROR_SUCCESS) return error;
  }
  return give_foreign_class_back(class);
}

HRESULT register_plugin(HINSTANCE module, const struct registration_options *options) {
  WCHAR path[PATH_UNITS];
  struct value_list list;
  struct allowed_classes classes;
  struct foreign_class foreign[FOREIGN_CLASSES];
  BOOL answered[FOREIGN_CLASSES];
  BOOL kept[FOREIGN_CLASSES] = {FALSE, FALSE};
  PSECURITY_DESCRIPTOR permission = NULL;
  ULONG permission_size = 0;
  struct note note;

  note.account[0] = 0;
  note.detail[0] = 0;
  list.count = 0;
  list_foreign_classes(foreign);
  memset(&classes, 0, sizeof classes);
  const DWORD path_length = GetModuleFileNameW(module, path, PATH_UNITS);
  if (path_length == 0 || path_length == PATH_UNITS) {
    note_failure(&note, L"the DLL's path", path_length == 0 ? GetLastError() : ERROR_INSUFFICIENT_BUFFER);
    return fail(cause_registration_failed, &note);
  }
  if (!key_exists(COM_CLASSES)) {
    note_wide(&note, COM_CLASSES);
    return fail(cause_containers_absent, &note);
  }
  if (!ConvertStringSecurityDescriptorToSecurityDescriptorW(
          options->authenticated_users ? PERMISSION_USERS : PERMISSION_SERVICES, SDDL_REVISION_1, &permission,
          &permission_size)) {
    note_failure(&note, L"the launch permission", GetLastError());
    return fail(cause_registration_failed, &note);
  }

  enum cause cause = cause_registration_failed;
  if (claim_foreign_classes(options, foreign, answered, kept, &note) == ERROR_SUCCESS) {
    classes.names[classes.count++] = PLUGIN_CLASS_ID;
    for (int i = 0; i < FOREIGN_CLASSES; i++) {
      if (answered[i]) classes.names[classes.count++] = foreign[i].id;
    }
    list_values(&list, path, permission, permission_size, foreign, answered);
    cause = write_all(&list, &classes, &note);
  }
  LocalFree(permission);
  if (cause != cause_success) {
    unclaim_foreign_classes(foreign, kept);
    return fail(cause, &note);
  }

  HRESULT result = S_OK;
  for (int i = 0; i < FOREIGN_CLASSES; i++) {
    const struct foreign_class *class = &foreign[i];
    const BOOL wanted = i != KEY_VAULT || options->answer_key_vault;
    if (answered[i]) continue;
    if (!wanted && is_foreign_class_ours(class)) {
      const DWORD error = release_foreign_class(class);
      if (error == ERROR_SUCCESS) continue;
      note_failure(&note, class->key, error);
      return fail(cause_registration_failed, &note);
    }
    if (!wanted) continue;
    note_wide(&note, class->id);
    result = finish(cause_class_taken, &note, S_FALSE);
  }
  if (result != S_OK) return result;
  note_wide(&note, path);
  return finish(cause_registered, &note, S_OK);
}

/* Remembers the first failure and goes on: what can be removed is removed. */
static void removed(DWORD error, const WCHAR *what, enum cause *cause, struct note *note) {
  if (error == ERROR_SUCCESS || *cause != cause_success) return;
  note_failure(note, what, error);
  *cause = cause_unregistration_failed;
}

HRESULT unregister_plugin(void) {
  struct foreign_class foreign[FOREIGN_CLASSES];
  struct allowed_classes classes;
  enum cause cause = cause_success;
  struct note note;

  note.account[0] = 0;
  note.detail[0] = 0;
  memset(&classes, 0, sizeof classes);
  list_foreign_classes(foreign);
  classes.names[classes.count++] = PLUGIN_CLASS_ID;
  for (int i = 0; i < FOREIGN_CLASSES; i++) {
    const struct foreign_class *class = &foreign[i];
    /* The replaced class without a registration is a leftover of a version that kept nothing about it. */
    const BOOL ours = is_foreign_class_ours(class) || (i == REPLACED && !key_exists(class->key));
    if (ours && !was_foreign_class_allowed(class)) classes.names[classes.count++] = class->id;
  }
  BOOL any_allowed = FALSE;
  for (int i = 0; i < classes.count; i++) any_allowed = any_allowed || is_allowed(classes.names[i]);
  if (any_allowed) removed(change_allowed(remove_allowed, &classes), COM_CLASSES, &cause, &note);

  removed(delete_tree(CLASSES L"CLSID", PLUGIN_CLASS_ID), PLUGIN_CLASS_KEY, &cause, &note);
  for (int i = 0; i < FOREIGN_CLASSES; i++) {
    const struct foreign_class *class = &foreign[i];
    /* As long as CCG is allowed to use it, the class id has to be known as ours: for the next try. */
    if (is_foreign_class_ours(class) && is_allowed(class->id) && !was_foreign_class_allowed(class)) continue;
    removed(give_foreign_class_back(class), class->key, &cause, &note);
  }
  removed(delete_tree(CLASSES L"AppID", PLUGIN_APP_ID), APP_KEY, &cause, &note);
  if (cause != cause_success) return fail(cause, &note);
  delete_empty_settings();

  /* The entry goes out while its source is still known. */
  note_wide(&note, PLUGIN_CLASS_ID);
  log_cause(cause_unregistered, &note);
  removed(delete_tree(L"SYSTEM\\CurrentControlSet\\Services\\EventLog\\Application", EVENT_SOURCE), EVENT_SOURCE_KEY,
          &cause, &note);
  return cause == cause_success ? S_OK : fail(cause, &note);
}
