/* Comments and docstrings of Python, as CPython 3.11's tokenizer sees them. */

#include "stripping.h"

enum { BROKEN_OFF = 1, ENDLESS, CLOSED }; /* how a string ends */
typedef enum { INDENT, DEDENT, NL, NEWLINE, CODE, STRING, OTHER } Before;

typedef struct {
    Stripping *stripping;
    const char *text;
    size_t length;
    Before before; /* what stands before the next token, where that decides about a string */
    VECTOR(size_t) indents;
    long depth;
    bool continued;
    size_t endless[2]; /* before here no " or ' closes a string */
    bool unfinished;   /* the tokenizer would have found an error */
} Scanner;

static bool starts_with(const Scanner *self, size_t position, const char *signs) {
    size_t count = strlen(signs);
    return count <= self->length - position && memcmp(self->text + position, signs, count) == 0;
}

static bool ends_with(const Scanner *self, size_t begin, size_t end, const char *signs) {
    size_t count = strlen(signs);
    return count <= end - begin && memcmp(self->text + end - count, signs, count) == 0;
}

static bool is_blank(const Scanner *self, size_t start, size_t end) {
    while (start < end && is_space(self->text[start])) start++;
    return start == end;
}

/* Does the work of `_Scanner.empty_line`. */
static size_t empty_line(Scanner *self, size_t start, size_t code) {
    size_t end = line_end(self->stripping, code), rest = code;
    if (self->text[code] == '#') {
        rest = end;
        while (self->text[rest - 1] == '\r' || self->text[rest - 1] == '\n') rest--;
    }
    keep_spaces(self->stripping, code - start);
    keep(self->stripping, rest, end);
    self->before = NL;
    return end;
}

/* Stands in for the white space before a line's first token, if it has one. */
static void blank(Scanner *self, size_t start, size_t code) {
    bool none = starts_with(self, code, "\\\n") || starts_with(self, code, "\\\r\n");
    if (!none || self->before == DEDENT) keep_spaces(self->stripping, code - start);
}

static bool is_known(const Scanner *self, size_t column) {
    for (size_t i = 0; i < self->indents.count; i++) {
        if (self->indents.at[i] == column) return true;
    }
    return false;
}

static void indent(Scanner *self, size_t start, size_t code) {
    size_t column = 0;
    for (size_t i = start; i < code; i++) {
        char sign = self->text[i];
        column = sign == ' ' ? column + 1 : sign == '\t' ? (column / 8 + 1) * 8 : 0;
    }
    if (column > self->indents.at[self->indents.count - 1]) {
        PUSH(self->stripping->arena, &self->indents, column);
        keep(self->stripping, start, code);
        self->before = INDENT;
        return;
    }
    if (!is_known(self, column)) {
        self->unfinished = true;
        return;
    }
    while (column < self->indents.at[self->indents.count - 1]) {
        self->indents.count--;
        self->before = DEDENT;
    }
    blank(self, start, code);
}

/* Returns where the string in three quotes ends, 0 where it does not. */
static size_t end_of_long(const Scanner *self, size_t start) {
    const char *text = self->text;
    for (size_t i = start + 3; i < self->length; i++) {
        if (text[i] == '\\')
            i++;
        else if (text[i] == text[start] && i + 2 < self->length && text[i + 1] == text[i] &&
                 text[i + 2] == text[i])
            return i + 3;
    }
    return 0;
}

/* Looks for the end in the string's first line; BROKEN_OFF: it goes on in the next one. */
static int end_of_short(const Scanner *self, size_t start, size_t *end) {
    const char *text = self->text;
    for (size_t i = start + 1; i < self->length && text[i] != '\n'; i++) {
        if (text[i] == text[start]) {
            *end = i + 1;
            return CLOSED;
        }
        if (text[i] != '\\') continue;
        if (starts_with(self, i, "\\\n") || starts_with(self, i, "\\\r\n")) {
            *end = line_end(self->stripping, i);
            return BROKEN_OFF;
        }
        i++;
    }
    return ENDLESS;
}

/* Returns where the quote closes a string in a further line, 0 where it does not. */
static size_t end_in_line(const Scanner *self, char quote, size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) {
        if (self->text[i] == quote) return i + 1;
        if (self->text[i] != '\\') continue;
        if (++i >= end || self->text[i] == '\n') return 0;
    }
    return 0;
}

/* Does the work of `_Scanner.string_end`. */
static int string_end(Scanner *self, size_t start, size_t *end) {
    char quote = self->text[start];
    size_t *endless = &self->endless[quote == '"'];
    if (starts_with(self, start, quote == '"' ? "\"\"\"" : "'''")) {
        *end = end_of_long(self, start);
        self->unfinished = *end == 0;
        return CLOSED;
    }
    if (start < *endless) return ENDLESS;
    int how = end_of_short(self, start, end);
    if (how == ENDLESS) *endless = line_end(self->stripping, start);
    if (how != BROKEN_OFF) return how;
    while (*end < self->length) {
        size_t begin = *end;
        *end = line_end(self->stripping, begin);
        size_t closing = end_in_line(self, quote, begin, *end);
        if (closing) {
            *end = closing;
            return CLOSED;
        }
        if (!ends_with(self, begin, *end, "\\\n") && !ends_with(self, begin, *end, "\\\r\n"))
            return BROKEN_OFF;
    }
    self->unfinished = true;
    return CLOSED;
}

static bool is_prefix(const char *word, size_t length) {
    char first = (char)(word[0] | 0x20), second = (char)(length == 2 ? word[1] | 0x20 : 0);
    if (length == 1) return first == 'b' || first == 'r' || first == 'u' || first == 'f';
    return length == 2 && ((first == 'r' && (second == 'b' || second == 'f')) ||
                           (second == 'r' && (first == 'b' || first == 'f')));
}

/* Keeps the string up to `end`, or drops it as a docstring. */
static void string(Scanner *self, size_t done, size_t quote, size_t end) {
    size_t start = quote;
    while (start > done && is_word(self->text[start - 1])) start--;
    if (start == quote || !is_prefix(self->text + start, quote - start)) start = quote;
    bool first_in_line = start == 0 || self->text[start - 1] == '\n';
    bool alone = (self->before == INDENT || self->before == NEWLINE) && is_blank(self, done, start);
    keep(self->stripping, done, alone || first_in_line ? start : end);
    self->before = STRING;
}

/* A line that goes on in the next one. */
static void carry_on(Scanner *self, size_t done, size_t backslash) {
    size_t end = backslash;
    while (end > done && strchr(" \t\f", self->text[end - 1]) != NULL && self->text[end - 1]) end--;
    keep(self->stripping, done, end);
    if (!is_blank(self, done, backslash)) self->before = CODE;
    self->continued = true;
}

/* Does the work of `_Scanner.tokens`. */
static size_t tokens(Scanner *self, size_t position) {
    const char *text = self->text;
    size_t done = position, end = line_end(self->stripping, position);
    for (size_t i = position; i < end; i++) {
        char sign = text[i];
        if (sign == '(' || sign == '[' || sign == '{') {
            self->depth++;
        } else if (sign == ')' || sign == ']' || sign == '}') {
            self->depth--;
        } else if (sign == '#') {
            keep(self->stripping, done, i);
            while (i < self->length && text[i] != '\r' && text[i] != '\n') i++;
            done = i--;
        } else if (sign == '\\') {
            if (!(i + 2 == end && text[i + 1] == '\n') &&
                !(i + 3 == end && text[i + 1] == '\r' && text[i + 2] == '\n'))
                continue;
            carry_on(self, done, i);
            return end;
        } else if (sign == '"' || sign == '\'') {
            size_t closing = 0;
            int how = string_end(self, i, &closing);
            if (self->unfinished) return end;
            if (how == ENDLESS) continue;
            if (how == BROKEN_OFF) {
                keep(self->stripping, done, closing);
                self->before = OTHER;
                return closing;
            }
            string(self, done, i, closing);
            done = closing;
            i = closing - 1;
            end = line_end(self->stripping, closing);
        }
    }
    keep(self->stripping, done, end);
    self->before = self->depth > 0 ? NL : NEWLINE;
    return end;
}

/* Does the work of `_Scanner.line`. */
static size_t line(Scanner *self, size_t start) {
    size_t code = start;
    while (code < self->length && strchr(" \t\f", self->text[code]) && self->text[code]) code++;
    if (self->depth == 0 && !self->continued) {
        if (code == self->length) return code;
        if (strchr("#\r\n", self->text[code]) && self->text[code])
            return empty_line(self, start, code);
        indent(self, start, code);
    } else {
        self->continued = false;
        blank(self, start, code);
    }
    return self->unfinished ? code : tokens(self, code);
}

bool strip_python(Stripping *stripping) {
    Scanner self = {
        .stripping = stripping,
        .text = stripping->text,
        .length = stripping->length,
        .before = INDENT,
    };
    PUSH(stripping->arena, &self.indents, 0);
    for (size_t position = 0; position < self.length && !self.unfinished;)
        position = line(&self, position);
    return !self.unfinished && self.depth == 0 && !self.continued;
}
