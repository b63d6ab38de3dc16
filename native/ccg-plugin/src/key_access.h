/*
 * Write access to a registry key that belongs to the system: CCG's list of allowed classes, which
 * administrators may read only.
 */
#ifndef SALLYPORT_KEY_ACCESS_H
#define SALLYPORT_KEY_ACCESS_H

#include <windows.h>

/* What is done while the key is writable. Returns ERROR_SUCCESS or a Windows error. */
typedef DWORD (*key_action)(HKEY key, void *context);

/*
 * The steps, as calls of their own, so that a test can let each of them fail. All return
 * ERROR_SUCCESS or a Windows error.
 */
struct key_security {
  void *context;
  /* Opens the key for making sub-keys; ERROR_ACCESS_DENIED is what the rest is for. */
  DWORD (*open)(void *context, HKEY *key);
  void (*close)(void *context, HKEY key);
  DWORD (*enable_privileges)(void *context);
  void (*restore_privileges)(void *context);
  /* Remembers owner and access list of the key. */
  DWORD (*remember)(void *context);
  void (*forget)(void *context);
  DWORD (*take_ownership)(void *context);
  DWORD (*restore_owner)(void *context);
  DWORD (*grant_access)(void *context);
  DWORD (*restore_access)(void *context);
};

/*
 * Runs `action` on the key. If it cannot be opened as it is: privileges on, remember, take ownership,
 * grant administrators access, act, and back in the opposite order, whatever failed in between. A
 * failure to go back is a failure, too.
 */
DWORD with_key_access(const struct key_security *security, key_action action, void *action_context);

/* The real steps, for a key below HKEY_LOCAL_MACHINE. */
struct real_key_security {
  struct key_security calls;
  const WCHAR *path;
  HANDLE token;
  BYTE old_privileges[64];
  DWORD old_privileges_size;
  PSECURITY_DESCRIPTOR remembered;
};
void init_real_key_security(struct real_key_security *security, const WCHAR *path);

#endif
