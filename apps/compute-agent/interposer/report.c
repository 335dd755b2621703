/* report.c: see report.h. No stdio: it may run in any process at any moment. */
#include "report.h"

#include <stdarg.h>
#include <stdio.h>

#include "raw.h"

void report(const char *format, ...)
{
	int saved = errno;
	char line[1024] = "coppice: ";
	const int start = 9;
	va_list arguments;

	va_start(arguments, format);
	int length = vsnprintf(line + start, sizeof line - start - 1, format, arguments);
	va_end(arguments);
	if (length < 0)
		length = 0;
	if (length > (int) sizeof line - start - 2)
		length = (int) sizeof line - start - 2;
	line[start + length] = '\n';
	/* A log that cannot be written to is nothing that this process could report. */
	if (raw_write(STDERR_FILENO, line, (size_t) (start + length + 1)) < 0) {
	}
	errno = saved;
}
