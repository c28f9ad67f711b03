/* Memory for one text, given back all at once; and hashes. */

#include "native.h"

#include <stdlib.h>

struct Chunk {
    Chunk *before;
    max_align_t start[];
};

enum { CHUNK = 48 * 1024 };

int guarded(Arena *arena, void (*work)(void *), void *data) {
    int why = setjmp(arena->escape);
    if (why == DONE) work(data);
    return why;
}

void fail(Arena *arena, int why) { longjmp(arena->escape, why); }

static void *taken(Arena *arena, size_t bytes) {
    if (bytes > (size_t)(arena->end - arena->free)) {
        size_t size = bytes > CHUNK / 4 ? bytes : CHUNK;
        if (size > PTRDIFF_MAX - sizeof(Chunk)) fail(arena, NO_MEMORY);
        Chunk *chunk = malloc(sizeof(Chunk) + size);
        if (chunk == NULL) fail(arena, NO_MEMORY);
        chunk->before = arena->chunks;
        arena->chunks = chunk;
        if (size != CHUNK) return chunk->start; /* a large piece has a chunk of its own */
        arena->free = (char *)chunk->start;
        arena->end = arena->free + size;
    }
    void *piece = arena->free;
    arena->free += bytes;
    return piece;
}

void *take(Arena *arena, size_t count, size_t size) {
    if (count > (PTRDIFF_MAX / 2) / size) fail(arena, NO_MEMORY);
    return taken(arena, (count * size + 16) & ~(size_t)15); /* never nothing: it has an address */
}

void *take_zeroed(Arena *arena, size_t count, size_t size) {
    void *piece = take(arena, count, size);
    memset(piece, 0, count * size);
    return piece;
}

void *grown(Arena *arena, void *old, size_t *room, size_t size) {
    size_t wider = *room ? *room * 2 : 32;
    void *piece = take(arena, wider, size);
    if (*room) memcpy(piece, old, *room * size);
    *room = wider;
    return piece;
}

void release(Arena *arena) {
    while (arena->chunks != NULL) {
        Chunk *before = arena->chunks->before;
        free(arena->chunks);
        arena->chunks = before;
    }
    arena->free = arena->end = NULL;
}

uint64_t hash_of_bytes(const char *bytes, size_t length) {
    uint64_t hash = length, word;
    for (; length >= 8; bytes += 8, length -= 8) {
        memcpy(&word, bytes, 8);
        hash = mixed(hash, word);
    }
    if (length > 0) {
        word = 0;
        memcpy(&word, bytes, length);
        hash = mixed(hash, word);
    }
    return hash ? hash : 1;
}
