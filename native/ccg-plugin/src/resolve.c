/* Answers a plugin input from the account provider of this host. */
#include "resolve.h"
#include "platform.h"
#include "plugin_input.h"
#include "provider_files.h"
#include "provider_keys.h"
#include "provider_request.h"

#include <windows.h>
#include "psa/crypto.h"

/* The account provider replaces certificate and key one after the other: wait for the second. */
#define PAIR_TRIES 8
#define PAIR_PAUSE_MS 25

/* Reads and parses the files until certificate and key belong together, or they have had their time. */
static enum cause load_keys(const char *directory_name, uint64_t deadline, struct provider_files *files,
                            struct provider_keys *keys, struct note *note) {
  for (int tries = 1;; tries++) {
    note_clear_detail(note);
    enum cause cause = read_provider_files(directory_name, files, note);
    if (cause != cause_success) return cause;
    cause = parse_provider_keys(files, keys, note);
    if (cause == cause_success) return cause;
    release_provider_keys(keys);
    release_provider_files(files);
    if (cause != cause_key_mismatch || tries == PAIR_TRIES || plugin_ticks() + PAIR_PAUSE_MS >= deadline) return cause;
    Sleep(PAIR_PAUSE_MS);
  }
}

static enum cause ask_provider(const struct account_reference *reference, uint64_t deadline,
                               struct provider_answer *answer, struct note *note) {
  struct provider_files files;
  struct provider_keys keys;

  enum cause cause = load_keys(reference->directory_name, deadline, &files, &keys, note);
  if (cause != cause_success) return cause;
  cause = request_credentials(files.port, &keys, reference->object_name, deadline, answer, note);

  /*
   * Between our reading the files and the handshake the account provider may have got new
   * certificates, or have been restarted on another port. Then, and only then, one more try.
   */
  if (cause >= cause_provider_down && cause <= cause_client_certificate_refused && plugin_ticks() < deadline) {
    struct provider_files files_now;
    struct provider_keys keys_now;
    struct note note_now = *note;
    if (load_keys(reference->directory_name, deadline, &files_now, &keys_now, &note_now) == cause_success) {
      if (!same_provider_files(&files, &files_now)) {
        note_clear_detail(note);
        cause = request_credentials(files_now.port, &keys_now, reference->object_name, deadline, answer, note);
      }
      release_provider_keys(&keys_now);
      release_provider_files(&files_now);
    }
  }
  release_provider_keys(&keys);
  release_provider_files(&files);
  return cause;
}

/* What is to be done about these differs where the secret is not in the cluster. */
static enum cause key_vault_cause(enum cause cause) {
  switch (cause) {
    case cause_directory_missing:
      return cause_key_vault_absent;
    case cause_name_refused:
      return cause_key_vault_refused;
    case cause_secret_unavailable:
      return cause_key_vault_unavailable;
    default:
      return cause;
  }
}

enum cause resolve_credentials(const uint16_t *input, size_t length, uint32_t timeout, struct credentials *credentials,
                               struct note *note) {
  const uint64_t deadline = plugin_ticks() + timeout;
  struct account_reference reference;
  const char *detail;

  note->account[0] = 0;
  note_clear_detail(note);
  enum cause cause = parse_plugin_input(input, length, &reference, &detail);
  if (cause != cause_success) {
    note_text(note, detail);
    return cause;
  }
  if (reference.is_key_vault) note_account_text(note, reference.object_name, shown_object_length(reference.object_name));
  else note_account(note, reference.directory_name, reference.object_name);

  const psa_status_t status = psa_crypto_init();
  if (status != PSA_SUCCESS) return status == PSA_ERROR_INSUFFICIENT_ENTROPY ? cause_random_failed : cause_out_of_memory;

  struct provider_answer *answer = plugin_calloc(1, sizeof *answer);
  if (!answer) return cause_out_of_memory;
  cause = ask_provider(&reference, deadline, answer, note);
  if (cause == cause_success) cause = parse_credentials(answer->bytes + answer->body_start, answer->body_length, credentials);
  plugin_free(answer);
  return reference.is_key_vault ? key_vault_cause(cause) : cause;
}
