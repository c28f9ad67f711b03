/* Words of a text and their n-grams, as in ngrams.py. */

#include "native.h"

/* Length of the operator that the text starts with; 1 where there is none. */
static size_t operator_length(const Language *language, const char *text, size_t length) {
    unsigned char sign = (unsigned char)*text;
    for (size_t i = language->operators_from[sign]; i < language->operators_from[sign + 1]; i++) {
        size_t wanted = language->operator_length[i];
        if (wanted <= length && memcmp(language->operator_at[i], text, wanted) == 0) return wanted;
    }
    return 1;
}

/* Does the work of `lexemes`, or of `str.split` in compat mode, on signs below 128. */
void words_of_ascii(Arena *arena, const Language *language, const char *text, size_t length,
                    Hashes *words) {
    size_t i = 0;
    while (i < length) {
        size_t start = i;
        if (is_space(text[i])) {
            i++;
            continue;
        }
        if (language->compat) {
            while (i < length && !is_space(text[i])) i++;
        } else if (is_word(text[i])) {
            while (i < length && is_word(text[i])) i++;
        } else {
            i += operator_length(language, text + i, length - i);
        }
        PUSH(arena, words, hash_of_bytes(text + start, i - start));
    }
}

static bool is_keyword(const Language *language, uint64_t hash) {
    for (size_t i = hash;; i++) {
        uint64_t keyword = language->keywords[i & language->keyword_mask];
        if (keyword == 0 || keyword == hash) return keyword == hash;
    }
}

void count_words(Arena *arena, const Language *language, const Hashes *words, Hashes bags[BAGS]) {
    size_t count = words->count;
    bags[0] = *words;
    for (size_t i = 0; i < count; i++) {
        if (is_keyword(language, words->at[i])) PUSH(arena, &bags[KEYWORDS], words->at[i]);
    }
    for (size_t order = 1; order < 4; order++) {
        const uint64_t *shorter = bags[order - 1].at;
        size_t grams = count > order ? count - order : 0;
        uint64_t *at = take(arena, grams, sizeof *at);
        for (size_t i = 0; i < grams; i++) at[i] = mixed(shorter[i], words->at[i + order]);
        bags[order].at = at;
        bags[order].count = grams;
    }
}
