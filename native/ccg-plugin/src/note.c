/* Small appends to a note's fixed buffers. */
#include "note.h"

static void append(char *text, size_t size, const char *more) {
  size_t at = 0;
  while (text[at]) at++;
  while (*more && at + 1 < size) text[at++] = *more++;
  text[at] = 0;
}

void note_clear_detail(struct note *note) { note->detail[0] = 0; }

void note_account(struct note *note, const char *namespace_name, const char *secret_name) {
  note->account[0] = 0;
  append(note->account, NOTE_ACCOUNT_SIZE, namespace_name);
  append(note->account, NOTE_ACCOUNT_SIZE, ":");
  append(note->account, NOTE_ACCOUNT_SIZE, secret_name);
}

void note_account_text(struct note *note, const char *text, size_t length) {
  size_t at = 0;
  for (; at < length && at + 1 < NOTE_ACCOUNT_SIZE; at++) note->account[at] = text[at];
  note->account[at] = 0;
}

void note_text(struct note *note, const char *text) { append(note->detail, NOTE_DETAIL_SIZE, text); }

static void note_digits(struct note *note, uint32_t number, uint32_t base, int width) {
  char digits[12];
  int at = 11;
  digits[at] = 0;
  do {
    digits[--at] = "0123456789ABCDEF"[number % base];
    number /= base;
  } while (at > 0 && (number > 0 || 11 - at < width));
  note_text(note, digits + at);
}

void note_number(struct note *note, uint32_t number) { note_digits(note, number, 10, 1); }

void note_hex(struct note *note, uint32_t number) {
  note_text(note, "0x");
  note_digits(note, number, 16, 4);
}
