/*
 * Prints causes.def in another form: `messages` is the message compiler's input, `markdown` the table
 * of docs/reference/ccg-plugin.md, `ndjson` what other programs read.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct row {
  const char *name;
  unsigned number;
  const char *sentence;
  const char *remedy;
};

static const struct row rows[] = {
#define CAUSE(name, number, sentence, remedy) {#name, number, sentence, remedy},
#include "../src/causes.def"
#undef CAUSE
};
#define ROWS (sizeof rows / sizeof *rows)

static void print_escaped(const char *text, const char *escaped, const char *escape) {
  for (; *text; text++) {
    if (strchr(escaped, *text)) fputs(escape, stdout);
    putchar(*text);
  }
}

/*
 * In message text a full stop alone ends the message and %1 is an insertion. Severity 2 with the
 * customer bit gives ids that begin with A, as our HRESULTs do.
 */
static void print_messages(void) {
  puts("SeverityNames=(Cause=0x2:STATUS_SEVERITY_CAUSE)\nFacilityNames=(Ccg=0x0CC:FACILITY_CCG)\n"
       "LanguageNames=(English=0x409:messages_en)\n");
  for (size_t i = 0; i < ROWS; i++) {
    printf("MessageId=%u\nSeverity=Cause\nFacility=Ccg\nSymbolicName=CAUSE_%s\nLanguage=English\n%s %s\n.\n\n",
           rows[i].number, rows[i].name, rows[i].sentence, rows[i].remedy);
  }
}

static void print_markdown(void) {
  puts("| Event | HRESULT | As a number | Cause | What happened | What to do |\n| --- | --- | --- | --- | --- | --- |");
  for (size_t i = 0; i < ROWS; i++) {
    const uint32_t result = 0xA0CC0000u | rows[i].number;
    printf("| %u | `0x%08X` | %d | `%s` | ", rows[i].number, result, (int32_t)result, rows[i].name);
    print_escaped(rows[i].sentence, "<|", "\\");
    printf(" | ");
    print_escaped(rows[i].remedy, "<|", "\\");
    puts(" |");
  }
}

static void print_ndjson(void) {
  for (size_t i = 0; i < ROWS; i++) {
    printf("{\"name\":\"%s\",\"number\":%u,\"sentence\":\"", rows[i].name, rows[i].number);
    print_escaped(rows[i].sentence, "\"\\", "\\");
    printf("\",\"remedy\":\"");
    print_escaped(rows[i].remedy, "\"\\", "\\");
    puts("\"}");
  }
}

int main(int argc, char **argv) {
  const char *form = argc == 2 ? argv[1] : "";
  if (strcmp(form, "messages") == 0) print_messages();
  else if (strcmp(form, "markdown") == 0) print_markdown();
  else if (strcmp(form, "ndjson") == 0) print_ndjson();
  else {
    fputs("usage: print-causes messages|markdown|ndjson\n", stderr);
    return 2;
  }
  return 0;
}
