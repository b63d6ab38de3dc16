/*
 * A strict, allocation-free JSON reader for exactly one kind of document. It decodes straight into
 * the caller's buffers, so that there is one copy to wipe.
 */
#include "credentials_json.h"

#define NESTING_MAX 16

struct reader {
  const uint8_t *text;
  size_t length;
  size_t at;
};

/* Where a decoded string goes. `length` goes on counting past `maximum`, nothing is written there. */
struct sink {
  uint16_t *units;
  size_t maximum;
  size_t length;
};

static int peek(const struct reader *reader) {
  return reader->at < reader->length ? reader->text[reader->at] : -1;
}

static int take(struct reader *reader, int expected) {
  if (peek(reader) != expected) return 0;
  reader->at++;
  return 1;
}

static void skip_blanks(struct reader *reader) {
  for (;;) {
    const int c = peek(reader);
    if (c != ' ' && c != '\t' && c != '\n' && c != '\r') return;
    reader->at++;
  }
}

static void put(struct sink *sink, uint32_t unit) {
  if (sink->length < sink->maximum) sink->units[sink->length] = (uint16_t)unit;
  sink->length++;
}

static void put_code_point(struct sink *sink, uint32_t code_point) {
  if (code_point < 0x10000) {
    put(sink, code_point);
    return;
  }
  put(sink, 0xD800 + ((code_point - 0x10000) >> 10));
  put(sink, 0xDC00 + ((code_point - 0x10000) & 0x3FF));
}

/* Four hexadecimal digits, or -1. */
static int32_t read_hex4(struct reader *reader) {
  int32_t value = 0;
  for (int i = 0; i < 4; i++) {
    const int c = peek(reader);
    int digit;
    if (c >= '0' && c <= '9') digit = c - '0';
    else if (c >= 'a' && c <= 'f') digit = c - 'a' + 10;
    else if (c >= 'A' && c <= 'F') digit = c - 'A' + 10;
    else return -1;
    value = value * 16 + digit;
    reader->at++;
  }
  return value;
}

/* What follows a backslash. Half a surrogate pair is text that UTF-16 readers disagree about. */
static enum cause read_escape(struct reader *reader, struct sink *sink) {
  const int c = peek(reader);
  reader->at++;
  switch (c) {
    case '"': case '\\': case '/': put(sink, (uint32_t)c); return cause_success;
    case 'b': put(sink, 8); return cause_success;
    case 'f': put(sink, 12); return cause_success;
    case 'n': put(sink, 10); return cause_success;
    case 'r': put(sink, 13); return cause_success;
    case 't': put(sink, 9); return cause_success;
    case 'u': break;
    default: return cause_json_malformed;
  }
  const int32_t unit = read_hex4(reader);
  if (unit < 0) return cause_json_malformed;
  if (unit >= 0xDC00 && unit <= 0xDFFF) return cause_json_text;
  if (unit < 0xD800 || unit > 0xDBFF) {
    put(sink, (uint32_t)unit);
    return unit == 0 ? cause_json_text : cause_success;
  }
  if (!take(reader, '\\') || !take(reader, 'u')) return cause_json_text;
  const int32_t low = read_hex4(reader);
  if (low < 0) return cause_json_malformed;
  if (low < 0xDC00 || low > 0xDFFF) return cause_json_text;
  put(sink, (uint32_t)unit);
  put(sink, (uint32_t)low);
  return cause_success;
}

/* One UTF-8 sequence of two to four bytes in its shortest form (RFC 3629); `first` was consumed. */
static enum cause read_utf8(struct reader *reader, uint32_t first, struct sink *sink) {
  uint32_t code_point;
  uint32_t smallest;
  int more;
  if (first >= 0xC2 && first <= 0xDF) { code_point = first & 0x1F; smallest = 0x80; more = 1; }
  else if (first >= 0xE0 && first <= 0xEF) { code_point = first & 0x0F; smallest = 0x800; more = 2; }
  else if (first >= 0xF0 && first <= 0xF4) { code_point = first & 0x07; smallest = 0x10000; more = 3; }
  else return cause_json_text;
  for (; more > 0; more--) {
    const int c = peek(reader);
    if (c < 0x80 || c > 0xBF) return cause_json_text;
    code_point = (code_point << 6) | ((uint32_t)c & 0x3F);
    reader->at++;
  }
  if (code_point < smallest || code_point > 0x10FFFF) return cause_json_text;
  if (code_point >= 0xD800 && code_point <= 0xDFFF) return cause_json_text;
  put_code_point(sink, code_point);
  return cause_success;
}

static enum cause read_string(struct reader *reader, struct sink *sink) {
  if (!take(reader, '"')) return cause_json_malformed;
  for (;;) {
    const int c = peek(reader);
    enum cause cause = cause_success;
    if (c < 0x20) return cause_json_malformed; /* a control character, or the end */
    reader->at++;
    if (c == '"') return cause_success;
    if (c == '\\') cause = read_escape(reader, sink);
    else if (c < 0x80) put(sink, (uint32_t)c);
    else cause = read_utf8(reader, (uint32_t)c, sink);
    if (cause != cause_success) return cause;
  }
}

static int take_digits(struct reader *reader) {
  const size_t start = reader->at;
  while (peek(reader) >= '0' && peek(reader) <= '9') reader->at++;
  return reader->at > start;
}

static enum cause skip_number(struct reader *reader) {
  take(reader, '-');
  if (!take(reader, '0') && !take_digits(reader)) return cause_json_malformed;
  if (take(reader, '.') && !take_digits(reader)) return cause_json_malformed;
  if (take(reader, 'e') || take(reader, 'E')) {
    if (!take(reader, '+')) take(reader, '-');
    if (!take_digits(reader)) return cause_json_malformed;
  }
  return cause_success;
}

static enum cause skip_word(struct reader *reader, const char *word) {
  for (; *word; word++) {
    if (!take(reader, *word)) return cause_json_malformed;
  }
  return cause_success;
}

/*
 * Passes over one value of any kind. Iterative, with the open brackets on a small stack of its own:
 * a deeply nested answer can't exhaust the thread's.
 */
static enum cause skip_value(struct reader *reader) {
  char open[NESTING_MAX];
  size_t depth = 0;
  for (;;) {
    /* A value begins here. */
    enum cause cause = cause_success;
    struct sink nowhere = {NULL, 0, 0};
    int opened = 0;
    skip_blanks(reader);
    const int c = peek(reader);
    if (c == '{' || c == '[') {
      if (depth == NESTING_MAX) return cause_json_shape;
      open[depth++] = (char)c;
      reader->at++;
      skip_blanks(reader);
      opened = !(peek(reader) == (c == '{' ? '}' : ']'));
    }
    else if (c == '"') cause = read_string(reader, &nowhere);
    else if (c == 't') cause = skip_word(reader, "true");
    else if (c == 'f') cause = skip_word(reader, "false");
    else if (c == 'n') cause = skip_word(reader, "null");
    else cause = skip_number(reader);
    if (cause != cause_success) return cause;

    /* A value has ended, or a bracket was opened: close what closes, then go to the next value. */
    while (!opened) {
      if (depth == 0) return cause_success;
      skip_blanks(reader);
      if (take(reader, ',')) break;
      if (!take(reader, open[depth - 1] == '{' ? '}' : ']')) return cause_json_malformed;
      depth--;
    }
    if (open[depth - 1] == '{') {
      skip_blanks(reader);
      cause = read_string(reader, &nowhere);
      if (cause != cause_success) return cause;
      skip_blanks(reader);
      if (!take(reader, ':')) return cause_json_malformed;
    }
  }
}

static int name_is(const struct sink *name, const char *expected) {
  size_t i = 0;
  for (; expected[i]; i++) {
    if (i >= name->length || name->units[i] != (uint16_t)expected[i]) return 0;
  }
  return i == name->length;
}

/* One of the three strings. Structural faults come first, so that the cause does not depend on order. */
static enum cause read_credential(struct reader *reader, uint16_t *units, size_t maximum, size_t *length,
                                  int *seen, enum cause *later) {
  struct sink sink = {units, maximum, 0};
  skip_blanks(reader);
  if (*seen) return cause_json_duplicate;
  *seen = 1;
  if (peek(reader) != '"') {
    const enum cause cause = skip_value(reader);
    return cause == cause_success ? cause_json_shape : cause;
  }
  const enum cause cause = read_string(reader, &sink);
  if (cause != cause_success) return cause;
  if (sink.length > maximum) {
    *later = cause_credential_too_long;
    return cause_success;
  }
  if (sink.length == 0 && *later == cause_success) *later = cause_credential_empty;
  units[sink.length] = 0;
  *length = sink.length;
  return cause_success;
}

/* The members of the object whose opening bracket was just taken, up to and with the closing one. */
static enum cause read_members(struct reader *reader, struct credentials *credentials) {
  int domain_name = 0;
  int user_name = 0;
  int password = 0;
  enum cause later = cause_success;

  skip_blanks(reader);
  if (!take(reader, '}')) {
    for (;;) {
      uint16_t name_units[16];
      struct sink name = {name_units, 16, 0};
      skip_blanks(reader);
      enum cause cause = read_string(reader, &name);
      if (cause != cause_success) return cause;
      skip_blanks(reader);
      if (!take(reader, ':')) return cause_json_malformed;
      if (name_is(&name, "username")) {
        cause = read_credential(reader, credentials->user_name, USER_NAME_MAX,
                                &credentials->user_name_length, &user_name, &later);
      } else if (name_is(&name, "password")) {
        cause = read_credential(reader, credentials->password, PASSWORD_MAX,
                                &credentials->password_length, &password, &later);
      } else if (name_is(&name, "domainName")) {
        cause = read_credential(reader, credentials->domain_name, DOMAIN_NAME_MAX,
                                &credentials->domain_name_length, &domain_name, &later);
      } else {
        cause = skip_value(reader);
      }
      if (cause != cause_success) return cause;
      skip_blanks(reader);
      if (take(reader, '}')) break;
      if (!take(reader, ',')) return cause_json_malformed;
    }
  }
  skip_blanks(reader);
  if (reader->at != reader->length) return cause_json_malformed;
  if (!user_name || !password || !domain_name) return cause_credential_missing;
  return later;
}

enum cause parse_credentials(const uint8_t *text, size_t length, struct credentials *credentials) {
  struct reader reader = {text, length, 0};

  credentials->domain_name[0] = 0;
  credentials->user_name[0] = 0;
  credentials->password[0] = 0;
  credentials->domain_name_length = 0;
  credentials->user_name_length = 0;
  credentials->password_length = 0;
  skip_blanks(&reader);
  if (take(&reader, '{')) return read_members(&reader, credentials);
  const enum cause cause = skip_value(&reader);
  if (cause != cause_success) return cause;
  skip_blanks(&reader);
  return reader.at == reader.length ? cause_json_shape : cause_json_malformed;
}
