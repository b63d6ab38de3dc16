/*
 * The files the account provider keeps for this plugin under C:\var\lib\rancher\gmsa\<directory>:
 * its port, its authority, and the client certificate with its key.
 */
#ifndef SALLYPORT_PROVIDER_FILES_H
#define SALLYPORT_PROVIDER_FILES_H

#include "causes.h"
#include "note.h"
#include <stddef.h>
#include <stdint.h>

#define PROVIDER_FILE_MAX 65535u

/* A file's bytes with a NUL behind them, which the PEM reader wants. The length counts the NUL. */
struct file_text {
  unsigned char *bytes;
  size_t length;
};

/* Secret: the key. Freed, and wiped, by release_provider_files. */
struct provider_files {
  struct file_text authority;
  struct file_text certificate;
  struct file_text key;
  uint16_t port;
};

/*
 * Reads all four files of a directory that parse_plugin_input has named. On failure `note` says
 * which file and why. A file that is being replaced just now is asked for again for a moment.
 */
enum cause read_provider_files(const char *directory_name, struct provider_files *files, struct note *note);

void release_provider_files(struct provider_files *files);

/* Whether both hold the same bytes: if not, trying again makes sense. */
int same_provider_files(const struct provider_files *left, const struct provider_files *right);

#endif
