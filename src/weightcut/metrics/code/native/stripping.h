/* Taking comments and docstrings out of a text of ASCII signs, as in stripping.py. */

#ifndef WEIGHTCUT_STRIPPING_H
#define WEIGHTCUT_STRIPPING_H

#include "native.h"

/* What is left of a text; never longer than the text itself. */
typedef struct {
    Arena *arena;
    const char *text;
    size_t length;
    char *out;
    size_t kept;
    bool is_python;
} Stripping;

/* The argument is a Stripping, whose `out` and `kept` this sets. */
void strip_comments(void *stripping);

bool strip_python(Stripping *stripping); /* false: the text is to stay as it is */
void strip_c_like(Stripping *stripping);

size_t line_end(const Stripping *stripping, size_t position); /* after the line break */
void keep(Stripping *stripping, size_t start, size_t end);
void keep_spaces(Stripping *stripping, size_t count);

#endif
