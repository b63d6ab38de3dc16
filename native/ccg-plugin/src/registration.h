/* What regsvr32 calls: every registry key the plugin needs, written, read back, and removed again. */
#ifndef SALLYPORT_REGISTRATION_H
#define SALLYPORT_REGISTRATION_H

#include <windows.h>

struct registration_options {
  BOOL take_over;           /* the class ids of other plugins that this one answers to, even where those are installed */
  BOOL answer_key_vault;    /* answer to the class id of Microsoft's Key Vault plugin, too; otherwise stop doing so */
  BOOL authenticated_users; /* may start the surrogate, besides SYSTEM and services */
};

/*
 * Registers the DLL that is `module`. S_OK when everything is written and reads back the same. S_FALSE when
 * all of our own is, but another plugin holds a class id and keeps it. On failure what was written is undone.
 */
HRESULT register_plugin(HINSTANCE module, const struct registration_options *options);

/* Removes what register_plugin wrote, gives class ids back that were taken over; S_OK also when nothing was there. */
HRESULT unregister_plugin(void);

#endif
