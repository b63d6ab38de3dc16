/* Parses the head of an HTTP answer. */
#include "http_response.h"

static int is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

/* RFC 9110, 5.6.2: the characters of a header's name. */
static int is_token(uint8_t c) {
  if (is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return 1;
  for (const char *other = "!#$%&'*+-.^_`|~"; *other; other++) {
    if (c == (uint8_t)*other) return 1;
  }
  return 0;
}

static int is_header(const uint8_t *name, size_t length, const char *expected) {
  size_t i = 0;
  for (; expected[i]; i++) {
    if (i >= length) return 0;
    const uint8_t lower = name[i] >= 'A' && name[i] <= 'Z' ? (uint8_t)(name[i] + 32) : name[i];
    if (lower != (uint8_t)expected[i]) return 0;
  }
  return i == length;
}

/* `HTTP/1.0` or `HTTP/1.1`, a blank, three digits, then nothing or a blank and a reason. */
static int parse_status_line(const uint8_t *line, size_t length) {
  static const char version[] = "HTTP/1.";
  if (length < 12) return 0;
  for (size_t i = 0; i < 7; i++) {
    if (line[i] != (uint8_t)version[i]) return 0;
  }
  if ((line[7] != '0' && line[7] != '1') || line[8] != ' ') return 0;
  if (!is_digit(line[9]) || !is_digit(line[10]) || !is_digit(line[11])) return 0;
  if (length > 12 && line[12] != ' ') return 0;
  const int status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
  return status >= 100 && status <= 599 ? status : 0;
}

static enum cause status_cause(int status) {
  switch (status) {
    case 200: return cause_success;
    case 400: return cause_name_refused;
    case 403: return cause_client_certificate_refused;
    case 404: return cause_secret_unavailable;
    default: break;
  }
  if (status >= 300 && status < 400) return cause_redirected;
  return status >= 500 ? cause_provider_error : cause_status_unexpected;
}

/* Digits only; more than the limit is too large, not an overflow. */
static enum cause parse_content_length(const uint8_t *value, size_t length, size_t *body_length) {
  size_t total = 0;
  if (length == 0) return cause_response_malformed;
  for (size_t i = 0; i < length; i++) {
    if (!is_digit(value[i])) return cause_response_malformed;
    if (total <= RESPONSE_BODY_MAX) total = total * 10 + (size_t)(value[i] - '0');
  }
  *body_length = total;
  return total > RESPONSE_BODY_MAX ? cause_response_too_large : cause_success;
}

/* The end of the line that begins at `from`: the index of its CR, or `length` when it is not there yet. */
static size_t line_end(const uint8_t *bytes, size_t from, size_t length, int *malformed) {
  for (size_t i = from; i < length; i++) {
    if (bytes[i] == '\n' || bytes[i] == 0) {
      *malformed = 1;
      return length;
    }
    if (bytes[i] != '\r') continue;
    if (i + 1 == length) return length;
    if (bytes[i + 1] == '\n') return i;
    *malformed = 1;
    return length;
  }
  return length;
}

enum cause parse_response_head(const uint8_t *bytes, size_t length, struct response_head *head) {
  static const char start[] = "HTTP/1.";
  int malformed = 0;
  int lengths = 0;
  int coded = 0;
  enum cause size_cause = cause_success;

  head->complete = 0;
  head->status = 0;
  head->head_length = 0;
  head->body_length = 0;
  for (size_t i = 0; i < length && i < 7; i++) {
    if (bytes[i] != (uint8_t)start[i]) return cause_response_malformed;
  }

  const size_t limit = length < RESPONSE_HEAD_MAX ? length : RESPONSE_HEAD_MAX;
  const enum cause unfinished = length < RESPONSE_HEAD_MAX ? cause_success : cause_response_too_large;
  size_t end = line_end(bytes, 0, limit, &malformed);
  if (malformed) return cause_response_malformed;
  if (end == limit) return unfinished;
  const int status = parse_status_line(bytes, end);
  if (status == 0) return cause_response_malformed;

  for (size_t line = end + 2;; line = end + 2) {
    end = line_end(bytes, line, limit, &malformed);
    if (malformed) return cause_response_malformed;
    if (end == limit) return unfinished;
    if (end == line) {
      head->head_length = end + 2;
      break;
    }
    size_t colon = line;
    while (colon < end && is_token(bytes[colon])) colon++;
    if (colon == line || colon == end || bytes[colon] != ':') return cause_response_malformed;
    size_t value = colon + 1;
    size_t value_end = end;
    while (value < end && (bytes[value] == ' ' || bytes[value] == '\t')) value++;
    while (value_end > value && (bytes[value_end - 1] == ' ' || bytes[value_end - 1] == '\t')) value_end--;
    if (is_header(bytes + line, colon - line, "transfer-encoding")) coded = 1;
    if (is_header(bytes + line, colon - line, "content-length")) {
      lengths++;
      size_cause = parse_content_length(bytes + value, value_end - value, &head->body_length);
      if (size_cause == cause_response_malformed) return size_cause;
    }
  }

  head->complete = 1;
  head->status = status;
  if (status != 200) {
    head->body_length = 0;
    return status_cause(status);
  }
  if (coded || lengths != 1) return cause_response_framing;
  return size_cause;
}
