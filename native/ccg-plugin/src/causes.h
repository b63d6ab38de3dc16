/*
 * The closed list of what can come of a call or a registration (causes.def), as an enum whose values
 * are the event ids.
 */
#ifndef SALLYPORT_CAUSES_H
#define SALLYPORT_CAUSES_H

enum cause {
#define CAUSE(name, number, sentence, remedy) cause_##name = (number),
#include "causes.def"
#undef CAUSE
};

/* The HRESULT of a cause: failure bit, customer bit, facility 0x0CC, the event id. */
#define CAUSE_HRESULT_BASE 0xA0CC0000u

#endif
