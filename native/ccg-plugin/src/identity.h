/* The ids and names this plugin has on a host. Never change one: credential specs and hosts hold them. */
#ifndef SALLYPORT_IDENTITY_H
#define SALLYPORT_IDENTITY_H

/* Our own class: PluginGUID of new credential specs. */
#define PLUGIN_CLASS_ID L"{D035536E-1862-450C-830A-FB8629184C57}"
/* The class of Rancher's plugin, which this one replaces: PluginGUID of existing credential specs. */
#define REPLACED_CLASS_ID L"{E4781092-F116-4B79-B55E-28EB6A224E26}"
/* The class of Microsoft's Azure Key Vault plugin, answered to where the administrator says so. */
#define KEY_VAULT_CLASS_ID L"{CCC2A336-D7F3-4818-A213-272B7924213E}"
/* The surrogate process and who may start it, for all three classes; the other plugins' own AppIDs stay theirs. */
#define PLUGIN_APP_ID L"{35BDD23D-4757-4EB1-B7AA-D587CBFAD5B4}"
#define PLUGIN_NAME L"Sallyport CCG plugin"

/* ICcgDomainAuthCredentials, and the proxy that Windows brings for it. */
#define CCG_INTERFACE_ID L"{6ECDA518-2010-4437-8BC3-46E752B7B172}"
#define CCG_INTERFACE_NAME L"ICcgDomainAuthCredentials"
#define CCG_PROXY_CLASS_ID L"{A6FF50C0-56C0-71CA-5732-BED303A59628}"

#define EVENT_SOURCE L"Sallyport CCG plugin"
#define SETTINGS_PARENT L"SOFTWARE\\Sallyport"
#define SETTINGS_KEY SETTINGS_PARENT L"\\CCG plugin"

#define PLUGIN_CLASS_GUID {0xD035536E, 0x1862, 0x450C, {0x83, 0x0A, 0xFB, 0x86, 0x29, 0x18, 0x4C, 0x57}}
#define REPLACED_CLASS_GUID {0xE4781092, 0xF116, 0x4B79, {0xB5, 0x5E, 0x28, 0xEB, 0x6A, 0x22, 0x4E, 0x26}}
#define KEY_VAULT_CLASS_GUID {0xCCC2A336, 0xD7F3, 0x4818, {0xA2, 0x13, 0x27, 0x2B, 0x79, 0x24, 0x21, 0x3E}}
#define CCG_INTERFACE_GUID {0x6ECDA518, 0x2010, 0x4437, {0x8B, 0xC3, 0x46, 0xE7, 0x52, 0xB7, 0xB1, 0x72}}

#endif
