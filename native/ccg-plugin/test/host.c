/*
 * Activates the plugin as ccg.exe would, and prints what it gave: the program behind the suites in
 * e2e/windows. Runs under Wine or Windows; never shipped.
 *
 *   test-host call CLASS-ID in-process|surrogate COUNT THREADS INPUT...   one JSON line per call
 *   test-host grow CLASS-ID WARM COUNT INPUT                              bytes in use before and after
 *   test-host lifecycle DLL                                               the rules of COM, one JSON line
 *   test-host messages DLL                                                the message table, one JSON line per id
 *
 * An INPUT of `-` is a NULL pointer; `@FILE` is read from a file in UTF-16.
 */
#include "../src/ccg.h"
#include "../src/causes.h"
#include "../src/identity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

static const GUID ccg_interface = CCG_INTERFACE_GUID;
static const GUID plugin_class = PLUGIN_CLASS_GUID;
static CRITICAL_SECTION printing;

static void print_text(const char *name, const WCHAR *text) {
  printf(",\"%s\":", name);
  if (!text) {
    printf("null");
    return;
  }
  putchar('"');
  for (; *text; text++) {
    if (*text >= 0x20 && *text < 0x7F && *text != '"' && *text != '\\') putchar((char)*text);
    else printf("\\u%04x", *text);
  }
  putchar('"');
}

static double milliseconds_since(LARGE_INTEGER start) {
  LARGE_INTEGER now;
  LARGE_INTEGER frequency;
  QueryPerformanceCounter(&now);
  QueryPerformanceFrequency(&frequency);
  return (double)(now.QuadPart - start.QuadPart) * 1000.0 / (double)frequency.QuadPart;
}

static const WCHAR *load_input(const WCHAR *argument) {
  if (wcscmp(argument, L"-") == 0) return NULL;
  if (argument[0] != '@') return argument;
  FILE *file = _wfopen(argument + 1, L"rb");
  if (!file) return L"";
  WCHAR *text = calloc(65536, sizeof *text);
  if (text) fread(text, sizeof *text, 65535, file);
  fclose(file);
  return text;
}

static HRESULT activate(const WCHAR *class_text, DWORD context, ccg_credentials **plugin) {
  CLSID class_id;
  *plugin = NULL;
  const HRESULT result = CLSIDFromString(class_text, &class_id);
  if (FAILED(result)) return result;
  return CoCreateInstance(&class_id, NULL, context, &ccg_interface, (void **)plugin);
}

struct work {
  const WCHAR *class_text;
  DWORD context;
  int count;
  int inputs;
  WCHAR **arguments;
};

/* One activation per thread, as every container has a ccg.exe of its own. */
static DWORD WINAPI run_calls(LPVOID parameter) {
  const struct work *work = parameter;
  ccg_credentials *plugin;
  CoInitializeEx(NULL, COINIT_MULTITHREADED);
  const HRESULT activated = activate(work->class_text, work->context, &plugin);
  for (int i = 0; i < work->count; i++) {
    for (int j = 0; j < work->inputs; j++) {
      const WCHAR *input = load_input(work->arguments[j]);
      /* Not NULL on purpose: the plugin has to set them. */
      WCHAR *domain_name = (WCHAR *)L"unset";
      WCHAR *user_name = (WCHAR *)L"unset";
      WCHAR *password = (WCHAR *)L"unset";
      LARGE_INTEGER start;
      QueryPerformanceCounter(&start);
      HRESULT result = activated;
      if (plugin) result = plugin->table->GetPasswordCredentials(plugin, input, &domain_name, &user_name, &password);
      const double milliseconds = milliseconds_since(start);
      EnterCriticalSection(&printing);
      printf("{\"activated\":%s,\"result\":\"%08lX\",\"milliseconds\":%.3f", plugin ? "true" : "false", (unsigned long)result,
             milliseconds);
      print_text("domainName", plugin ? domain_name : NULL);
      print_text("username", plugin ? user_name : NULL);
      print_text("password", plugin ? password : NULL);
      printf("}\n");
      fflush(stdout);
      LeaveCriticalSection(&printing);
      if (plugin && SUCCEEDED(result)) {
        CoTaskMemFree(domain_name);
        CoTaskMemFree(user_name);
        CoTaskMemFree(password);
      }
    }
  }
  if (plugin) plugin->table->Release(plugin);
  CoUninitialize();
  return 0;
}

static int call_command(int count, WCHAR **arguments) {
  if (count < 5) return 2;
  struct work work = {arguments[0], wcscmp(arguments[1], L"surrogate") == 0 ? CLSCTX_LOCAL_SERVER : CLSCTX_INPROC_SERVER,
                      _wtoi(arguments[2]), count - 4, arguments + 4};
  const int threads = _wtoi(arguments[3]);
  HANDLE handles[64];
  if (threads < 1 || threads > 64) return 2;
  for (int i = 0; i < threads; i++) handles[i] = CreateThread(NULL, 0, run_calls, &work, 0, NULL);
  WaitForMultipleObjects((DWORD)threads, handles, TRUE, INFINITE);
  return 0;
}

/* The bytes and blocks in use of the process's heap. */
static void measure_heap(size_t *bytes, size_t *blocks) {
  PROCESS_HEAP_ENTRY entry;
  entry.lpData = NULL;
  *bytes = 0;
  *blocks = 0;
  HeapLock(GetProcessHeap());
  while (HeapWalk(GetProcessHeap(), &entry)) {
    if (!(entry.wFlags & PROCESS_HEAP_ENTRY_BUSY)) continue;
    *bytes += entry.cbData;
    ++*blocks;
  }
  HeapUnlock(GetProcessHeap());
}

static int grow_command(int count, WCHAR **arguments) {
  if (count != 4) return 2;
  ccg_credentials *plugin;
  size_t bytes[2];
  size_t blocks[2];
  DWORD handles[2] = {0, 0};
  int failures = 0;
  CoInitializeEx(NULL, COINIT_MULTITHREADED);
  const HRESULT activated = activate(arguments[0], CLSCTX_INPROC_SERVER, &plugin);
  if (FAILED(activated)) return 3;
  const int limits[2] = {_wtoi(arguments[1]), _wtoi(arguments[2])};
  for (int phase = 0; phase < 2; phase++) {
    for (int i = 0; i < limits[phase]; i++) {
      WCHAR *domain_name;
      WCHAR *user_name;
      WCHAR *password;
      if (FAILED(plugin->table->GetPasswordCredentials(plugin, load_input(arguments[3]), &domain_name, &user_name,
                                                       &password))) {
        failures++;
        continue;
      }
      CoTaskMemFree(domain_name);
      CoTaskMemFree(user_name);
      CoTaskMemFree(password);
    }
    measure_heap(&bytes[phase], &blocks[phase]);
    GetProcessHandleCount(GetCurrentProcess(), &handles[phase]);
  }
  plugin->table->Release(plugin);
  CoUninitialize();
  printf("{\"failures\":%d,\"bytesBefore\":%lu,\"bytesAfter\":%lu,\"blocksBefore\":%lu,\"blocksAfter\":%lu,"
         "\"handlesBefore\":%lu,\"handlesAfter\":%lu}\n",
         failures, (unsigned long)bytes[0], (unsigned long)bytes[1], (unsigned long)blocks[0], (unsigned long)blocks[1],
         (unsigned long)handles[0], (unsigned long)handles[1]);
  return 0;
}

typedef HRESULT(STDAPICALLTYPE *get_class_object)(REFCLSID, REFIID, void **);
typedef HRESULT(STDAPICALLTYPE *can_unload)(void);

static int lifecycle_command(int count, WCHAR **arguments) {
  static const GUID strange = {0x12345678, 0, 0, {0}};
  static const GUID unknown = {0, 0, 0, {0xC0, 0, 0, 0, 0, 0, 0, 0x46}};
  static const GUID factory_id = {1, 0, 0, {0xC0, 0, 0, 0, 0, 0, 0, 0x46}};
  if (count != 1) return 2;
  const HMODULE dll = LoadLibraryW(arguments[0]);
  if (!dll) return 3;
  const get_class_object get = (get_class_object)(void *)GetProcAddress(dll, "DllGetClassObject");
  const can_unload unload = (can_unload)(void *)GetProcAddress(dll, "DllCanUnloadNow");
  IClassFactory *factory = NULL;
  void *object = NULL;
  void *again = NULL;
  if (!get || !unload) return 3;
  printf("{\"unloadAtFirst\":\"%08lX\"", (unsigned long)unload());
  printf(",\"strangeClass\":\"%08lX\"", (unsigned long)get(&strange, &factory_id, &object));
  printf(",\"noOutput\":\"%08lX\"", (unsigned long)get(&plugin_class, &factory_id, NULL));
  printf(",\"strangeInterface\":\"%08lX\"", (unsigned long)get(&plugin_class, &strange, &object));
  printf(",\"factory\":\"%08lX\"", (unsigned long)get(&plugin_class, &factory_id, (void **)&factory));
  printf(",\"unloadWithFactory\":\"%08lX\"", (unsigned long)unload());
  printf(",\"aggregated\":\"%08lX\"",
         (unsigned long)factory->lpVtbl->CreateInstance(factory, (IUnknown *)factory, &unknown, &object));
  printf(",\"objectStrange\":\"%08lX\"", (unsigned long)factory->lpVtbl->CreateInstance(factory, NULL, &strange, &object));
  printf(",\"object\":\"%08lX\"", (unsigned long)factory->lpVtbl->CreateInstance(factory, NULL, &ccg_interface, &object));
  factory->lpVtbl->Release(factory);
  printf(",\"unloadWithObject\":\"%08lX\"", (unsigned long)unload());
  ccg_credentials *plugin = object;
  printf(",\"query\":\"%08lX\"", (unsigned long)plugin->table->QueryInterface(plugin, &unknown, &again));
  printf(",\"sameIdentity\":%s", again == object ? "true" : "false");
  WCHAR *text = (WCHAR *)L"unset";
  printf(",\"nullOutput\":\"%08lX\"",
         (unsigned long)plugin->table->GetPasswordCredentials(plugin, L"a:b", &text, &text, NULL));
  plugin->table->Release(plugin);
  printf(",\"left\":%lu", plugin->table->Release(plugin));
  printf(",\"unloadAtLast\":\"%08lX\"", (unsigned long)unload());
  printf(",\"freed\":%s}\n", FreeLibrary(dll) ? "true" : "false");
  return 0;
}

static int messages_command(int count, WCHAR **arguments) {
  if (count != 1) return 2;
  const HMODULE dll = LoadLibraryExW(arguments[0], NULL, LOAD_LIBRARY_AS_DATAFILE);
  if (!dll) return 3;
  for (DWORD number = 1; number < 1000; number++) {
    WCHAR text[2048];
    const DWORD length = FormatMessageW(FORMAT_MESSAGE_FROM_HMODULE | FORMAT_MESSAGE_IGNORE_INSERTS, dll,
                                        CAUSE_HRESULT_BASE | number, 0x409, text, 2048, NULL);
    if (length == 0) continue;
    printf("{\"number\":%lu", number);
    print_text("text", text);
    printf("}\n");
  }
  return 0;
}

int wmain(int count, WCHAR **arguments) {
  setvbuf(stdout, NULL, _IOFBF, 1 << 16);
  InitializeCriticalSection(&printing);
  int result = 2;
  if (count > 1) {
    if (wcscmp(arguments[1], L"call") == 0) result = call_command(count - 2, arguments + 2);
    else if (wcscmp(arguments[1], L"grow") == 0) result = grow_command(count - 2, arguments + 2);
    else if (wcscmp(arguments[1], L"lifecycle") == 0) result = lifecycle_command(count - 2, arguments + 2);
    else if (wcscmp(arguments[1], L"messages") == 0) result = messages_command(count - 2, arguments + 2);
  }
  fflush(stdout);
  if (result == 2) fputs("usage: see the head of test/host.c\n", stderr);
  return result;
}
