/* What COM makes of the registration: asked for by `sallyport plugin status`, through regsvr32. */
#ifndef SALLYPORT_ACTIVATION_H
#define SALLYPORT_ACTIVATION_H

#include <windows.h>

/*
 * Activates the plugin's class as it is registered, in this process and through the surrogate, and lets it go
 * again; no credentials are asked for. What came of it goes to a file beside the DLL, its name with
 * `.activation` behind it, in lines of a word and eight hexadecimal digits:
 *
 *   in-process HRESULT
 *   surrogate HRESULT
 *   launcher 00000001     if the caller is one of those whom the launch permission is for, else 00000000
 *
 * S_OK when the file was written, whatever is in it. Only who may write to the DLL's folder gets an answer.
 */
HRESULT report_activation(HINSTANCE module);

#endif
