/* One entry in the Application log per call: what came of it and for which account. */
#ifndef SALLYPORT_EVENT_LOG_H
#define SALLYPORT_EVENT_LOG_H

#include "causes.h"
#include "note.h"

/* Writes the entry with the cause's number as its id. That the log can't be written changes nothing. */
void log_cause(enum cause cause, const struct note *note);

#endif
