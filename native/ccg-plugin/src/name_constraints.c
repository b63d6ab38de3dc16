/* Reads a name constraints extension. */
#include "name_constraints.h"

struct span {
  const uint8_t *at;
  const uint8_t *end;
};

/* Takes one element in DER; 0 when it is malformed or longer than what there is. */
static int take_element(struct span *from, uint8_t *tag, struct span *content) {
  if (from->end - from->at < 2) return 0;
  *tag = *from->at++;
  size_t length = *from->at++;
  if (length >= 0x80) {
    size_t bytes = length & 0x7F;
    if (bytes == 0 || bytes > 2 || (size_t)(from->end - from->at) < bytes) return 0;
    for (length = 0; bytes > 0; bytes--) length = length << 8 | *from->at++;
    if (length < 0x80) return 0;
  }
  if ((size_t)(from->end - from->at) < length) return 0;
  content->at = from->at;
  content->end = from->at + length;
  from->at += length;
  return 1;
}

/* A DNS constraint covers localhost when it is empty (every name) or localhost itself, in any case. */
static int covers_localhost(struct span name) {
  static const char localhost[] = "localhost";
  if (name.at == name.end) return 1;
  if (name.end - name.at != (ptrdiff_t)sizeof localhost - 1) return 0;
  for (size_t i = 0; i < sizeof localhost - 1; i++) {
    const uint8_t c = name.at[i];
    if ((c >= 'A' && c <= 'Z' ? c + 32 : c) != localhost[i]) return 0;
  }
  return 1;
}

/* Goes through a list of subtrees: are there DNS names in it, and does one of them cover localhost? */
static int read_subtrees(struct span subtrees, int *any, int *covered) {
  *any = 0;
  *covered = 0;
  if (subtrees.at == subtrees.end) return 0;
  while (subtrees.at < subtrees.end) {
    struct span subtree;
    struct span base;
    uint8_t tag;
    if (!take_element(&subtrees, &tag, &subtree) || tag != 0x30) return 0;
    if (!take_element(&subtree, &tag, &base)) return 0;
    /* minimum and maximum are never there in RFC 5280. */
    if (subtree.at != subtree.end) return 0;
    if (tag != 0x82) continue;
    *any = 1;
    if (covers_localhost(base)) *covered = 1;
  }
  return 1;
}

int name_constraints_permit_localhost(const uint8_t *der, size_t length) {
  struct span all = {der, der + length};
  struct span constraints;
  struct span list;
  uint8_t tag;
  int any;
  int covered;
  int lists = 0;

  if (!take_element(&all, &tag, &constraints) || tag != 0x30 || all.at != all.end) return 0;
  if (constraints.at < constraints.end && *constraints.at == 0xA0) {
    if (!take_element(&constraints, &tag, &list) || !read_subtrees(list, &any, &covered)) return 0;
    if (any && !covered) return 0;
    lists++;
  }
  if (constraints.at < constraints.end && *constraints.at == 0xA1) {
    if (!take_element(&constraints, &tag, &list) || !read_subtrees(list, &any, &covered)) return 0;
    if (covered) return 0;
    lists++;
  }
  return lists > 0 && constraints.at == constraints.end;
}
