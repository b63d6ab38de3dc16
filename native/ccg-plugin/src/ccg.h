/*
 * ICcgDomainAuthCredentials as Windows declares it in ccgplugins.h, which mingw-w64 does not have.
 * https://learn.microsoft.com/windows/win32/api/ccgplugins/
 */
#ifndef SALLYPORT_CCG_H
#define SALLYPORT_CCG_H

#include <windows.h>
#include <objbase.h>

typedef struct ccg_credentials ccg_credentials;

struct ccg_credentials_table {
  HRESULT(STDMETHODCALLTYPE *QueryInterface)(ccg_credentials *self, REFIID interface_id, void **object);
  ULONG(STDMETHODCALLTYPE *AddRef)(ccg_credentials *self);
  ULONG(STDMETHODCALLTYPE *Release)(ccg_credentials *self);
  /* The outputs are separate CoTaskMemAlloc strings that the caller frees; NULL on every failure. */
  HRESULT(STDMETHODCALLTYPE *GetPasswordCredentials)(ccg_credentials *self, LPCWSTR plugin_input, LPWSTR *domain_name,
                                                     LPWSTR *user_name, LPWSTR *password);
};

struct ccg_credentials {
  const struct ccg_credentials_table *table;
};

#endif
