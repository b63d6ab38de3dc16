/* What regsvr32 calls: every registry key the plugin needs, written, read back, and removed again. */
#ifndef SALLYPORT_REGISTRATION_H
#define SALLYPORT_REGISTRATION_H

#include <windows.h>

struct registration_options {
  BOOL take_over;           /* the replaced plugin's class id, even where another plugin holds it */
  BOOL authenticated_users; /* may start the surrogate, besides SYSTEM and services */
};

/*
 * S_OK when everything is written and reads back the same. S_FALSE when all of our own is, but
 * another plugin holds the replaced class id and keeps it. On failure what was written is undone.
 */
HRESULT register_plugin(const struct registration_options *options);

/* Removes what register_plugin wrote, gives a class id back that was taken over; S_OK also when nothing was there. */
HRESULT unregister_plugin(void);

/* Remembers the module whose path is registered. */
void registration_attach(HINSTANCE module);

#endif
