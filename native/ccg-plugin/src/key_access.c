/* Takes and gives back the ownership of a registry key. */
#include "key_access.h"

#include <aclapi.h>
#include <sddl.h>
#include <string.h>

DWORD with_key_access(const struct key_security *security, key_action action, void *action_context) {
  void *context = security->context;
  HKEY key;
  DWORD undo = ERROR_SUCCESS;

  DWORD error = security->open(context, &key);
  if (error == ERROR_SUCCESS) {
    error = action(key, action_context);
    security->close(context, key);
    return error;
  }
  if (error != ERROR_ACCESS_DENIED) return error;

  error = security->enable_privileges(context);
  if (error != ERROR_SUCCESS) return error;
  error = security->remember(context);
  if (error == ERROR_SUCCESS) {
    error = security->take_ownership(context);
    if (error == ERROR_SUCCESS) {
      error = security->grant_access(context);
      if (error == ERROR_SUCCESS) {
        error = security->open(context, &key);
        if (error == ERROR_SUCCESS) {
          error = action(key, action_context);
          security->close(context, key);
        }
        undo = security->restore_access(context);
        if (error == ERROR_SUCCESS) error = undo;
      }
      undo = security->restore_owner(context);
      if (error == ERROR_SUCCESS) error = undo;
    }
    security->forget(context);
  }
  security->restore_privileges(context);
  return error;
}

static DWORD open_with(const WCHAR *path, REGSAM access, HKEY *key) {
  return (DWORD)RegOpenKeyExW(HKEY_LOCAL_MACHINE, path, 0, access | KEY_WOW64_64KEY, key);
}

static DWORD real_open(void *context, HKEY *key) {
  const struct real_key_security *self = context;
  return open_with(self->path, KEY_READ | KEY_WRITE | DELETE, key);
}

static void real_close(void *context, HKEY key) {
  (void)context;
  RegCloseKey(key);
}

static DWORD real_enable_privileges(void *context) {
  static const WCHAR *const names[] = {L"SeTakeOwnershipPrivilege", L"SeRestorePrivilege"};
  struct real_key_security *self = context;
  struct {
    DWORD count;
    LUID_AND_ATTRIBUTES privileges[2];
  } wanted = {2, {{{0, 0}, SE_PRIVILEGE_ENABLED}, {{0, 0}, SE_PRIVILEGE_ENABLED}}};

  if (!OpenProcessToken(GetCurrentProcess(), TOKEN_ADJUST_PRIVILEGES | TOKEN_QUERY, &self->token)) return GetLastError();
  for (int i = 0; i < 2; i++) {
    if (!LookupPrivilegeValueW(NULL, names[i], &wanted.privileges[i].Luid)) {
      const DWORD error = GetLastError();
      CloseHandle(self->token);
      return error;
    }
  }
  self->old_privileges_size = sizeof self->old_privileges;
  DWORD error = ERROR_SUCCESS;
  if (!AdjustTokenPrivileges(self->token, FALSE, (PTOKEN_PRIVILEGES)&wanted, sizeof self->old_privileges,
                             (PTOKEN_PRIVILEGES)(void *)self->old_privileges, &self->old_privileges_size)) {
    error = GetLastError();
    CloseHandle(self->token);
    return error;
  }
  error = GetLastError(); /* ERROR_NOT_ALL_ASSIGNED although the call succeeded */
  if (error != ERROR_SUCCESS) self->calls.restore_privileges(self);
  return error;
}

static void real_restore_privileges(void *context) {
  struct real_key_security *self = context;
  AdjustTokenPrivileges(self->token, FALSE, (PTOKEN_PRIVILEGES)(void *)self->old_privileges, 0, NULL, NULL);
  CloseHandle(self->token);
}

/* RegGetKeySecurity needs READ_CONTROL, which administrators have. */
static DWORD real_remember(void *context) {
  struct real_key_security *self = context;
  const SECURITY_INFORMATION parts = OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION;
  DWORD size = 0;
  HKEY key;

  DWORD error = open_with(self->path, READ_CONTROL, &key);
  if (error != ERROR_SUCCESS) return error;
  error = (DWORD)RegGetKeySecurity(key, parts, NULL, &size);
  if (error == ERROR_INSUFFICIENT_BUFFER) {
    self->remembered = LocalAlloc(LPTR, size);
    error = self->remembered ? (DWORD)RegGetKeySecurity(key, parts, self->remembered, &size) : ERROR_NOT_ENOUGH_MEMORY;
    if (error != ERROR_SUCCESS) {
      LocalFree(self->remembered);
      self->remembered = NULL;
    }
  }
  RegCloseKey(key);
  return error;
}

static void real_forget(void *context) {
  struct real_key_security *self = context;
  LocalFree(self->remembered);
  self->remembered = NULL;
}

static DWORD set_security(const WCHAR *path, REGSAM access, SECURITY_INFORMATION part, PSECURITY_DESCRIPTOR descriptor) {
  HKEY key;
  DWORD error = open_with(path, access, &key);
  if (error != ERROR_SUCCESS) return error;
  error = (DWORD)RegSetKeySecurity(key, part, descriptor);
  RegCloseKey(key);
  return error;
}

static DWORD real_take_ownership(void *context) {
  const struct real_key_security *self = context;
  PSECURITY_DESCRIPTOR administrators;
  if (!ConvertStringSecurityDescriptorToSecurityDescriptorW(L"O:BA", SDDL_REVISION_1, &administrators, NULL)) {
    return GetLastError();
  }
  const DWORD error = set_security(self->path, WRITE_OWNER, OWNER_SECURITY_INFORMATION, administrators);
  LocalFree(administrators);
  return error;
}

/* Setting an owner other than oneself is what SeRestorePrivilege is for. */
static DWORD real_restore_owner(void *context) {
  const struct real_key_security *self = context;
  return set_security(self->path, WRITE_OWNER, OWNER_SECURITY_INFORMATION, self->remembered);
}

/* The remembered list with one more entry: administrators, full control, this key and its sub-keys. */
static DWORD real_grant_access(void *context) {
  const struct real_key_security *self = context;
  BYTE administrators[SECURITY_MAX_SID_SIZE];
  DWORD size = sizeof administrators;
  EXPLICIT_ACCESSW entry;
  SECURITY_DESCRIPTOR descriptor;
  PACL old_list = NULL;
  PACL new_list = NULL;
  BOOL present = FALSE;
  BOOL defaulted = FALSE;

  if (!CreateWellKnownSid(WinBuiltinAdministratorsSid, NULL, administrators, &size)) return GetLastError();
  if (!GetSecurityDescriptorDacl(self->remembered, &present, &old_list, &defaulted)) return GetLastError();
  memset(&entry, 0, sizeof entry);
  entry.grfAccessPermissions = KEY_ALL_ACCESS;
  entry.grfAccessMode = GRANT_ACCESS;
  entry.grfInheritance = CONTAINER_INHERIT_ACE;
  entry.Trustee.TrusteeForm = TRUSTEE_IS_SID;
  entry.Trustee.ptstrName = (LPWSTR)(void *)administrators;
  DWORD error = SetEntriesInAclW(1, &entry, present ? old_list : NULL, &new_list);
  if (error != ERROR_SUCCESS) return error;
  if (!InitializeSecurityDescriptor(&descriptor, SECURITY_DESCRIPTOR_REVISION) ||
      !SetSecurityDescriptorDacl(&descriptor, TRUE, new_list, FALSE)) {
    error = GetLastError();
  } else {
    error = set_security(self->path, WRITE_DAC, DACL_SECURITY_INFORMATION, &descriptor);
  }
  LocalFree(new_list);
  return error;
}

static DWORD real_restore_access(void *context) {
  const struct real_key_security *self = context;
  return set_security(self->path, WRITE_DAC, DACL_SECURITY_INFORMATION, self->remembered);
}

void init_real_key_security(struct real_key_security *security, const WCHAR *path) {
  memset(security, 0, sizeof *security);
  security->path = path;
  security->calls.context = security;
  security->calls.open = real_open;
  security->calls.close = real_close;
  security->calls.enable_privileges = real_enable_privileges;
  security->calls.restore_privileges = real_restore_privileges;
  security->calls.remember = real_remember;
  security->calls.forget = real_forget;
  security->calls.take_ownership = real_take_ownership;
  security->calls.restore_owner = real_restore_owner;
  security->calls.grant_access = real_grant_access;
  security->calls.restore_access = real_restore_access;
}
