/* report.h: one line on the server's standard error, which is its log. */
#ifndef COPPICE_REPORT_H
#define COPPICE_REPORT_H

/* Writes `coppice: ` and the text as one line, at once. Keeps errno. */
__attribute__((format(printf, 1, 2))) void report(const char *format, ...);

#endif
