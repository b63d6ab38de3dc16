/* What a call says about itself in the event log: the account and a detail, never a secret. */
#ifndef SALLYPORT_NOTE_H
#define SALLYPORT_NOTE_H

#include <stddef.h>
#include <stdint.h>

#define NOTE_ACCOUNT_SIZE 336
#define NOTE_DETAIL_SIZE 160

/* ASCII, NUL-terminated, cut where the room ends. */
struct note {
  char account[NOTE_ACCOUNT_SIZE];
  char detail[NOTE_DETAIL_SIZE];
};

void note_clear_detail(struct note *note);
void note_account(struct note *note, const char *namespace_name, const char *secret_name);
/* An account that is the first `length` characters of a text. */
void note_account_text(struct note *note, const char *text, size_t length);
void note_text(struct note *note, const char *text);
void note_number(struct note *note, uint32_t number);
void note_hex(struct note *note, uint32_t number);

#endif
