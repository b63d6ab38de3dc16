/*
 * Marshals ICcgDomainAuthCredentials between processes. Windows has a proxy of its own for the
 * interface, Wine has none; so this DLL is for the Windows bed and is never shipped.
 *
 * It is what an IDL compiler makes of the interface, written by hand because the widl of mingw-w64 10
 * gets the type offsets of `[out] LPWSTR *` wrong: the call succeeds then, and the strings are NULL.
 */
#define __midl_proxy
#define USE_STUBLESS_PROXY
#define __REQUIRED_RPCPROXY_H_VERSION__ 475
#include <objbase.h>
#include <rpcproxy.h>

#include "../src/identity.h"

/* rpcrt4 exports them; mingw-w64 declares them for C++ only. */
HRESULT STDMETHODCALLTYPE IUnknown_QueryInterface_Proxy(IUnknown *self, REFIID id, void **object);
ULONG STDMETHODCALLTYPE IUnknown_AddRef_Proxy(IUnknown *self);
ULONG STDMETHODCALLTYPE IUnknown_Release_Proxy(IUnknown *self);

static const IID interface_id = CCG_INTERFACE_GUID;

/* Types: at 4 a string; at 6 a pointer, allocated by the stub, to a pointer at 10 to a string. */
static const struct {
  short pad;
  unsigned char format[14];
} types = {0,
           {NdrFcShort(0x0),
            /*  2 */ 0x11, 0x08, /* FC_RP, simple */
            /*  4 */ 0x25, 0x5C, /* FC_C_WSTRING, FC_PAD */
            /*  6 */ 0x11, 0x14, NdrFcShort(0x2), /* FC_RP, allocated on stack, dereferenced; the pointer lies 2 behind */
            /* 10 */ 0x13, 0x08, /* FC_OP, simple */
            /* 12 */ 0x25, 0x5C}};

/* The one method: number 3, 48 bytes of arguments, four of them and the HRESULT. */
static const struct {
  short pad;
  unsigned char format[57];
} procedures = {0,
                {0x33, 0x6C, NdrFcLong(0x0), NdrFcShort(0x3), NdrFcShort(0x30), NdrFcShort(0x0), NdrFcShort(0x8),
                 0x47, 0x05, 0x0A, 0x00, NdrFcShort(0x0), NdrFcShort(0x0), NdrFcShort(0x0), NdrFcShort(0x0),
                 /* plugin input: in */ NdrFcShort(0x10B), NdrFcShort(0x8), NdrFcShort(0x4),
                 /* domain name: out */ NdrFcShort(0x2013), NdrFcShort(0x10), NdrFcShort(0x6),
                 /* user name: out */ NdrFcShort(0x2013), NdrFcShort(0x18), NdrFcShort(0x6),
                 /* password: out */ NdrFcShort(0x2013), NdrFcShort(0x20), NdrFcShort(0x6),
                 /* result */ NdrFcShort(0x70), NdrFcShort(0x28), 0x08, 0x00,
                 0x00}};

static const unsigned short offsets[] = {0};

static const MIDL_STUB_DESC description = {0, NdrOleAllocate, NdrOleFree, {0}, 0, 0, 0, 0, types.format, 1, 0x50002, 0,
                                           0x50200CA, 0, 0, 0, 1, 0, 0, 0};

/* The tables begin with the three methods of IUnknown, which have no entry. */
static const MIDL_STUBLESS_PROXY_INFO proxy_info = {&description, procedures.format, offsets - 3, 0, 0, 0};
static const MIDL_SERVER_INFO server_info = {&description, 0, procedures.format, offsets - 3, 0, 0, 0, 0};

static CINTERFACE_PROXY_VTABLE(4) proxy_table = {
    {&proxy_info, &interface_id},
    {IUnknown_QueryInterface_Proxy, IUnknown_AddRef_Proxy, IUnknown_Release_Proxy, (void *)-1}};
static const CInterfaceStubVtbl stub_table = {{&interface_id, &server_info, 4, 0}, {CStdStubBuffer_METHODS}};

static const CInterfaceProxyVtbl *const proxy_tables[] = {(const CInterfaceProxyVtbl *)&proxy_table, NULL};
static const CInterfaceStubVtbl *const stub_tables[] = {&stub_table, NULL};
static PCInterfaceName const names[] = {"ICcgDomainAuthCredentials", NULL};

static int __stdcall look_up(const IID *id, int *index) {
  if (!IsEqualIID(id, &interface_id)) return 0;
  *index = 0;
  return 1;
}

static const ExtendedProxyFileInfo file_info = {(const PCInterfaceProxyVtblList *)proxy_tables,
                                                (const PCInterfaceStubVtblList *)stub_tables,
                                                names,
                                                NULL,
                                                look_up,
                                                1,
                                                2,
                                                NULL,
                                                0,
                                                0,
                                                0};
EXTERN_C const ProxyFileInfo *aProxyFileList[];
const ProxyFileInfo *aProxyFileList[] = {(const ProxyFileInfo *)&file_info, NULL};

DLLDATA_ROUTINES(aProxyFileList, &interface_id)
