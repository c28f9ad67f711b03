/* Comments of the C-like languages, and what all languages share. */

#include "stripping.h"

size_t line_end(const Stripping *stripping, size_t position) {
    const char *found =
        memchr(stripping->text + position, '\n', stripping->length - position);
    return found ? (size_t)(found - stripping->text) + 1 : stripping->length;
}

static char *room_for(Stripping *stripping, size_t count) {
    if (count > stripping->length - stripping->kept) fail(stripping->arena, NO_MEMORY);
    char *at = stripping->out + stripping->kept;
    stripping->kept += count;
    return at;
}

void keep(Stripping *stripping, size_t start, size_t end) {
    memcpy(room_for(stripping, end - start), stripping->text + start, end - start);
}

void keep_spaces(Stripping *stripping, size_t count) {
    memset(room_for(stripping, count), ' ', count);
}

static size_t end_of_comment(const char *text, size_t length, size_t start) {
    for (size_t i = start + 2; i + 1 < length; i++) {
        const char *star = memchr(text + i, '*', length - i - 1);
        if (star == NULL) return 0;
        i = (size_t)(star - text);
        if (text[i + 1] == '/') return i + 2;
    }
    return 0;
}

static size_t end_of_literal(const char *text, size_t length, size_t start) {
    for (size_t i = start + 1; i < length; i++) {
        if (text[i] == text[start]) return i + 1;
        if (text[i] == '\\') i++;
    }
    return 0;
}

/* Where a quote or comment never ends, no later one of its kind is looked at: linear time. */
void strip_c_like(Stripping *stripping) {
    const char *text = stripping->text;
    size_t length = stripping->length, done = 0, i = 0;
    bool endless_comment = false, endless[128] = {false};
    while (i < length) {
        char sign = text[i];
        bool slash = sign == '/' && i + 1 < length;
        if (slash && text[i + 1] == '/') {
            const char *line = memchr(text + i, '\n', length - i);
            keep(stripping, done, i);
            keep_spaces(stripping, 1);
            done = i = line ? (size_t)(line - text) : length;
        } else if (slash && text[i + 1] == '*' && !endless_comment) {
            size_t end = end_of_comment(text, length, i);
            endless_comment = end == 0;
            if (end == 0) {
                i++;
                continue;
            }
            keep(stripping, done, i);
            keep_spaces(stripping, 1);
            done = i = end;
        } else if ((sign == '\'' || sign == '"') && !endless[(int)sign]) {
            size_t end = end_of_literal(text, length, i);
            endless[(int)sign] = end == 0;
            i = end ? end : i + 1;
        } else {
            i++;
        }
    }
    keep(stripping, done, length);
}

/* Takes out the lines that are blank. */
static void drop_blank_lines(Stripping *stripping) {
    char *out = stripping->out;
    size_t length = stripping->kept, kept = 0;
    bool first = true;
    for (size_t start = 0; start <= length;) {
        const char *found = memchr(out + start, '\n', length - start);
        size_t end = found ? (size_t)(found - out) : length, i = start;
        while (i < end && is_space(out[i])) i++;
        if (i < end) {
            if (!first) out[kept++] = '\n';
            first = false;
            memmove(out + kept, out + start, end - start);
            kept += end - start;
        }
        start = end + 1;
    }
    stripping->kept = kept;
}

static bool has_any(const Stripping *stripping, const char *signs) {
    for (; *signs; signs++) {
        if (memchr(stripping->text, *signs, stripping->length) != NULL) return true;
    }
    return false;
}

/* Does the work of `strip_comments`. */
void strip_comments(void *data) {
    Stripping *stripping = data;
    stripping->out = take(stripping->arena, stripping->length + 1, 1);
    stripping->kept = 0;
    bool changed = has_any(stripping, stripping->is_python ? "#\"'\\\t\f" : "/");
    if (!changed) {
        keep(stripping, 0, stripping->length);
    } else if (!stripping->is_python) {
        strip_c_like(stripping);
    } else if (!strip_python(stripping)) {
        stripping->kept = 0;
        keep(stripping, 0, stripping->length);
        return;
    }
    drop_blank_lines(stripping);
}
