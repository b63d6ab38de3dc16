/*
 * The COM side: a class factory, the object with its one method, and the DLL's entry points. The only
 * state is the count of what is in use, and where the DLL is; a call keeps everything else on its stack or in memory of its
 * own, so any number of threads may call at once.
 */
#include "activation.h"
#include "ccg.h"
#include "event_log.h"
#include "identity.h"
#include "platform.h"
#include "plugin_input.h"
#include "registration.h"
#include "resolve.h"

/* One overall deadline for a call: the default, and what the registry may set it to. */
#define TIMEOUT_DEFAULT_MS 10000u
#define TIMEOUT_MIN_MS 1000u
#define TIMEOUT_MAX_MS 30000u


static LONG in_use;
static HINSTANCE own_module;

static const GUID plugin_class = PLUGIN_CLASS_GUID;
static const GUID replaced_class = REPLACED_CLASS_GUID;
static const GUID key_vault_class = KEY_VAULT_CLASS_GUID;
static const GUID ccg_interface = CCG_INTERFACE_GUID;
static const GUID unknown_interface = {0, 0, 0, {0xC0, 0, 0, 0, 0, 0, 0, 0x46}};
static const GUID factory_interface = {1, 0, 0, {0xC0, 0, 0, 0, 0, 0, 0, 0x46}};

void runtime_attach(void);

/* The entry points that no Windows header declares in C. */
STDAPI DllRegisterServer(void);
STDAPI DllUnregisterServer(void);
STDAPI DllInstall(BOOL install, LPCWSTR line);
BOOL WINAPI DllMainCRTStartup(HINSTANCE module, DWORD reason, LPVOID process_ends);

static BOOL same_guid(const GUID *left, const GUID *right) {
  const uint32_t *a = (const uint32_t *)left;
  const uint32_t *b = (const uint32_t *)right;
  return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3];
}

struct plugin_object {
  ccg_credentials base;
  LONG references;
  /* What the registry said when the object was made: each container's ccg.exe makes one of its own. */
  uint32_t timeout;
};

static HRESULT STDMETHODCALLTYPE object_query(ccg_credentials *self, REFIID interface_id, void **object) {
  if (!object) return E_POINTER;
  if (!same_guid(interface_id, &unknown_interface) && !same_guid(interface_id, &ccg_interface)) {
    *object = NULL;
    return E_NOINTERFACE;
  }
  InterlockedIncrement(&((struct plugin_object *)self)->references);
  *object = self;
  return S_OK;
}

static ULONG STDMETHODCALLTYPE object_add_reference(ccg_credentials *self) {
  return (ULONG)InterlockedIncrement(&((struct plugin_object *)self)->references);
}

static ULONG STDMETHODCALLTYPE object_release(ccg_credentials *self) {
  const LONG left = InterlockedDecrement(&((struct plugin_object *)self)->references);
  if (left == 0) {
    plugin_free(self);
    InterlockedDecrement(&in_use);
  }
  return (ULONG)left;
}

static uint32_t timeout_setting(void) {
  DWORD timeout = 0;
  DWORD size = sizeof timeout;
  if (RegGetValueW(HKEY_LOCAL_MACHINE, SETTINGS_KEY, L"TimeoutMilliseconds", RRF_RT_REG_DWORD, NULL, &timeout, &size) !=
      ERROR_SUCCESS) {
    return TIMEOUT_DEFAULT_MS;
  }
  if (timeout < TIMEOUT_MIN_MS) return TIMEOUT_MIN_MS;
  return timeout > TIMEOUT_MAX_MS ? TIMEOUT_MAX_MS : timeout;
}

static LPWSTR task_copy(const uint16_t *text, size_t length) {
  LPWSTR copy = CoTaskMemAlloc((length + 1) * sizeof *copy);
  if (!copy) return NULL;
  for (size_t i = 0; i < length; i++) copy[i] = text[i];
  copy[length] = 0;
  return copy;
}

static HRESULT hand_over(const struct credentials *credentials, LPWSTR *domain_name, LPWSTR *user_name,
                         LPWSTR *password) {
  LPWSTR domain_copy = task_copy(credentials->domain_name, credentials->domain_name_length);
  LPWSTR user_copy = task_copy(credentials->user_name, credentials->user_name_length);
  LPWSTR password_copy = task_copy(credentials->password, credentials->password_length);
  if (!domain_copy || !user_copy || !password_copy) {
    if (password_copy) plugin_wipe(password_copy, credentials->password_length * sizeof *password_copy);
    CoTaskMemFree(domain_copy);
    CoTaskMemFree(user_copy);
    CoTaskMemFree(password_copy);
    return E_OUTOFMEMORY;
  }
  *domain_name = domain_copy;
  *user_name = user_copy;
  *password = password_copy;
  return S_OK;
}

static HRESULT STDMETHODCALLTYPE object_get(ccg_credentials *self, LPCWSTR plugin_input, LPWSTR *domain_name,
                                            LPWSTR *user_name, LPWSTR *password) {
  struct credentials credentials;
  struct note note;
  size_t length = 0;

  if (domain_name) *domain_name = NULL;
  if (user_name) *user_name = NULL;
  if (password) *password = NULL;
  if (!domain_name || !user_name || !password) return E_POINTER;

  /* What is longer than the longest valid input need not be read to its end. */
  while (plugin_input && length <= PLUGIN_INPUT_MAX && plugin_input[length]) length++;
  enum cause cause = resolve_credentials((const uint16_t *)plugin_input, length,
                                         ((const struct plugin_object *)self)->timeout, &credentials, &note);
  if (cause == cause_success && hand_over(&credentials, domain_name, user_name, password) != S_OK) {
    cause = cause_out_of_memory;
  }
  plugin_wipe(&credentials, sizeof credentials);
  log_cause(cause, &note);
  return cause == cause_success ? S_OK : (HRESULT)(CAUSE_HRESULT_BASE | (uint32_t)cause);
}

static const struct ccg_credentials_table object_table = {object_query, object_add_reference, object_release,
                                                          object_get};

static HRESULT STDMETHODCALLTYPE factory_query(IClassFactory *self, REFIID interface_id, void **object) {
  if (!object) return E_POINTER;
  if (!same_guid(interface_id, &unknown_interface) && !same_guid(interface_id, &factory_interface)) {
    *object = NULL;
    return E_NOINTERFACE;
  }
  InterlockedIncrement(&in_use);
  *object = self;
  return S_OK;
}

/* The factory is constant; its references only keep the DLL loaded. */
static ULONG STDMETHODCALLTYPE factory_add_reference(IClassFactory *self) {
  (void)self;
  InterlockedIncrement(&in_use);
  return 2;
}

static ULONG STDMETHODCALLTYPE factory_release(IClassFactory *self) {
  (void)self;
  InterlockedDecrement(&in_use);
  return 1;
}

static HRESULT STDMETHODCALLTYPE factory_create(IClassFactory *self, IUnknown *outer, REFIID interface_id,
                                                void **object) {
  (void)self;
  if (!object) return E_POINTER;
  *object = NULL;
  if (outer) return CLASS_E_NOAGGREGATION;
  struct plugin_object *made = plugin_calloc(1, sizeof *made);
  if (!made) return E_OUTOFMEMORY;
  made->base.table = &object_table;
  made->references = 1;
  made->timeout = timeout_setting();
  InterlockedIncrement(&in_use);
  const HRESULT result = object_query(&made->base, interface_id, object);
  object_release(&made->base);
  return result;
}

static HRESULT STDMETHODCALLTYPE factory_lock(IClassFactory *self, BOOL lock) {
  (void)self;
  if (lock) InterlockedIncrement(&in_use);
  else InterlockedDecrement(&in_use);
  return S_OK;
}

static const IClassFactoryVtbl factory_table = {factory_query, factory_add_reference, factory_release, factory_create,
                                                factory_lock};
static const IClassFactory factory = {(IClassFactoryVtbl *)&factory_table};

STDAPI DllGetClassObject(REFCLSID class_id, REFIID interface_id, void **object) {
  if (!object) return E_POINTER;
  *object = NULL;
  if (!same_guid(class_id, &plugin_class) && !same_guid(class_id, &replaced_class) &&
      !same_guid(class_id, &key_vault_class)) {
    return CLASS_E_CLASSNOTAVAILABLE;
  }
  return factory_query((IClassFactory *)&factory, interface_id, object);
}

STDAPI DllCanUnloadNow(void) { return InterlockedCompareExchange(&in_use, 0, 0) == 0 ? S_OK : S_FALSE; }

STDAPI DllRegisterServer(void) {
  const struct registration_options options = {FALSE, FALSE, FALSE};
  return register_plugin(own_module, &options);
}

STDAPI DllUnregisterServer(void) { return unregister_plugin(); }

/* Whether a word is among the blank- or comma-separated words of a command line. */
static BOOL has_word(LPCWSTR line, LPCWSTR word) {
  while (line && *line) {
    size_t i = 0;
    while (word[i] && line[i] == word[i]) i++;
    if (!word[i] && (!line[i] || line[i] == ',' || line[i] == ' ')) return TRUE;
    while (*line && *line != ',' && *line != ' ') line++;
    while (*line == ',' || *line == ' ') line++;
  }
  return FALSE;
}

/*
 * regsvr32 /n /i:WORDS: registration with choices. `answer-key-vault-plugin` answers to the class id of
 * Microsoft's Key Vault plugin, too; `take-over` takes other plugins' class ids from whoever holds them;
 * `authenticated-users` lets any authenticated user start the surrogate. The word `check-activation` does
 * something else: it registers nothing and reports what COM makes of what is registered (activation.h).
 */
STDAPI DllInstall(BOOL install, LPCWSTR line) {
  if (!install) return unregister_plugin();
  if (has_word(line, L"check-activation")) return report_activation(own_module);
  const struct registration_options options = {has_word(line, L"take-over"), has_word(line, L"answer-key-vault-plugin"),
                                               has_word(line, L"authenticated-users")};
  return register_plugin(own_module, &options);
}

/* Not stack-guarded itself: it sets the guard. */
__attribute__((optimize("no-stack-protector"))) BOOL WINAPI DllMainCRTStartup(HINSTANCE module, DWORD reason,
                                                                             LPVOID process_ends) {
  if (reason == DLL_PROCESS_ATTACH) {
    runtime_attach();
    platform_attach();
    DisableThreadLibraryCalls(module);
    own_module = module;
  }
  if (reason == DLL_PROCESS_DETACH && !process_ends) platform_detach();
  return TRUE;
}
