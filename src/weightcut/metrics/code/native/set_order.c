/* The order of names in a set of CPython 3.11 with PYTHONHASHSEED=0, as in set_order.py. */

#include "native.h"

enum { LINEAR_PROBES = 9 };

static uint64_t rotated(uint64_t word, int by) { return word << by | word >> (64 - by); }

static void sip_round(uint64_t v[4]) {
    v[0] += v[1];
    v[1] = rotated(v[1], 13) ^ v[0];
    v[0] = rotated(v[0], 32);
    v[2] += v[3];
    v[3] = rotated(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotated(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotated(v[1], 17) ^ v[2];
    v[2] = rotated(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t word) {
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

static uint64_t little_endian(const char *bytes, size_t length) {
    uint64_t word = 0;
    for (size_t i = 0; i < length; i++) word |= (uint64_t)(unsigned char)bytes[i] << (8 * i);
    return word;
}

/* Does the work of `string_hash` for signs below 128. */
static uint64_t string_hash(const char *text, size_t length) {
    if (length == 0) return 0;
    uint64_t v[4] = {UINT64_C(0x736F6D6570736575), UINT64_C(0x646F72616E646F6D),
                     UINT64_C(0x6C7967656E657261), UINT64_C(0x7465646279746573)};
    size_t whole = length / 8 * 8;
    for (size_t i = 0; i < whole; i += 8) sip_word(v, little_endian(text + i, 8));
    sip_word(v, (uint64_t)(length % 256) << 56 | little_endian(text + whole, length - whole));
    v[2] ^= 0xFF;
    for (int i = 0; i < 3; i++) sip_round(v);
    uint64_t hash = v[0] ^ v[1] ^ v[2] ^ v[3];
    return hash == UINT64_MAX ? UINT64_MAX - 1 : hash;
}

static uint64_t hash_of(Run *run, uint32_t name) {
    Name *at = &run->names[name];
    if (!at->hashed) {
        at->string_hash = string_hash(at->at, at->length);
        at->hashed = true;
    }
    return at->string_hash;
}

/* table: numbers of names + 1, 0 where empty. */
static void insert(Run *run, uint32_t *table, uint64_t mask, uint32_t name) {
    uint64_t perturb = hash_of(run, name), slot = perturb & mask;
    for (;;) {
        uint64_t probes = slot + LINEAR_PROBES <= mask ? LINEAR_PROBES : 0;
        for (uint64_t near = slot; near <= slot + probes; near++) {
            if (table[near] == 0) {
                table[near] = name + 1;
                return;
            }
        }
        perturb >>= 5;
        slot = (slot * 5 + 1 + perturb) & mask;
    }
}

Span in_set_order(Run *run, Span names) {
    if (names.count < 2) return names;
    uint64_t room = 8;
    uint32_t *table = take_zeroed(run->arena, room, sizeof *table);
    for (uint32_t i = 0; i < names.count; i++) {
        insert(run, table, room - 1, names.at[i]);
        uint64_t used = (uint64_t)i + 1;
        if (used * 5 < (room - 1) * 3) continue;
        uint64_t wider = 8;
        while (wider <= used * (used > 50000 ? 2 : 4)) wider *= 2;
        uint32_t *moved = take_zeroed(run->arena, wider, sizeof *moved);
        for (uint64_t k = 0; k < room; k++) {
            if (table[k] != 0) insert(run, moved, wider - 1, table[k] - 1);
        }
        table = moved;
        room = wider;
    }
    uint32_t *ordered = take(run->arena, names.count, sizeof *ordered);
    uint32_t count = 0;
    for (uint64_t k = 0; k < room; k++) {
        if (table[k] != 0) ordered[count++] = table[k] - 1;
    }
    return (Span){ordered, count};
}
