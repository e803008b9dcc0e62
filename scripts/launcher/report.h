/* Text: the one line of a failure, and paths. */
#ifndef NYDUS_GD_REPORT_H
#define NYDUS_GD_REPORT_H

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Says what could not be done, errno if it is not 0, and the hint. Answers the exit code. */
__attribute__((format(printf, 2, 3))) static int fail(const char *hint, const char *format, ...) {
  int saved = errno;
  va_list arguments;
  va_start(arguments, format);
  fputs("nydus-gd: cannot ", stderr);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fprintf(stderr, "%s%s\n", saved ? ": " : "", saved ? strerror(saved) : "");
  if (hint != NULL) fprintf(stderr, "hint: %s\n", hint);
  return 1;
}

/* Text in memory of its own, which lives as long as this program. */
__attribute__((format(printf, 1, 2))) static char *text(const char *format, ...) {
  char *made = NULL;
  va_list arguments;
  va_start(arguments, format);
  int length = vasprintf(&made, format, arguments);
  va_end(arguments);
  if (length < 0) exit(fail(NULL, "start"));
  return made;
}

#endif
