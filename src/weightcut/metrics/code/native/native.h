/* What the parts of weightcut.metrics.code._native share.

   The Python modules beside this folder are the reference: every function here says which one of
   theirs it does the work of, and has to give the same result. */

#ifndef WEIGHTCUT_NATIVE_H
#define WEIGHTCUT_NATIVE_H

#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030b0000
#endif
#include <Python.h>

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ABSENT UINT32_MAX
#define NO_FIELD 0xFFFF    /* a field that the grammar lacks; no node has this number */
#define AFTER_EQUALS 0xFFFE /* not a field: what stands after '=' */

/* What the reader does with a node, as in tree.py. */
enum { NAMED = 1, TOKEN = 2, COMMENT = 4, SPECIAL = 8, STATEMENT = 16 };
/* What the flow of values does with a node, as native.py tells. */
enum { NO_ROLE, DEFINE, ASSIGN, BRANCH, EACH, AGAIN, UPDATE, COUNTED, ASSIGN_EACH };
enum {
    FIRST = 1,
    LIST = 2,
    SIGN = 4,
    COMMA = 8,
    EQUALS = 16,
    STEP = 32,
    UNARY = 64,
    ELIF = 128,
    ELSE = 256,
    IF_OR_ELSE = 512,
    CLAUSE = 1024,
    BLOCK = 2048,
    AGAIN_AFTER = 4096,
    FOR_IN = 8192,
    IDENTIFIER = 16384,
};

/* ---- memory.c: everything that lives no longer than one text ---- */

enum { DONE, NO_MEMORY, PYTHON_ERROR, NO_FLOW };

typedef struct Chunk Chunk;
typedef struct {
    Chunk *chunks;
    char *free, *end;
    jmp_buf escape;
} Arena;

/* Runs the work; returns DONE, or why `fail` was called. */
int guarded(Arena *arena, void (*work)(void *), void *data);
_Noreturn void fail(Arena *arena, int why);
/* Memory until `release`; never NULL: fails with NO_MEMORY. */
void *take(Arena *arena, size_t count, size_t size);
void *take_zeroed(Arena *arena, size_t count, size_t size);
void *grown(Arena *arena, void *old, size_t *room, size_t size);
void release(Arena *arena);

#define VECTOR(type)        \
    struct {                \
        type *at;           \
        size_t count, room; \
    }
#define PUSH(arena, vector, value)                                                             \
    do {                                                                                       \
        if ((vector)->count == (vector)->room)                                                 \
            (vector)->at = grown(arena, (vector)->at, &(vector)->room, sizeof *(vector)->at);  \
        (vector)->at[(vector)->count++] = (value);                                             \
    } while (0)

typedef VECTOR(uint64_t) Hashes;

static inline uint64_t mixed(uint64_t a, uint64_t b) {
    uint64_t x = (a + UINT64_C(0x9E3779B97F4A7C15)) * UINT64_C(0xBF58476D1CE4E5B9) + b;
    x = (x ^ (x >> 30)) * UINT64_C(0x94D049BB133111EB);
    x = (x ^ (x >> 27)) * UINT64_C(0x9E3779B97F4A7C15);
    return x ^ (x >> 31);
}

uint64_t hash_of_bytes(const char *bytes, size_t length);

/* As str.isspace() and \w, for ASCII signs. */
static inline bool is_space(char sign) {
    return sign == ' ' || (sign >= 9 && sign <= 13) || (sign >= 28 && sign <= 31);
}

static inline bool is_word(char sign) {
    return (sign >= 'a' && sign <= 'z') || (sign >= 'A' && sign <= 'Z') || sign == '_' ||
           (sign >= '0' && sign <= '9');
}

/* ---- languages ---- */

typedef struct {
    uint16_t flags, role, marks;
    uint16_t left, right, body; /* fields that the role reads */
    const char *name;
    size_t length;
} Kind;

typedef struct {
    PyObject_HEAD
    Kind *kinds; /* the last one stands for errors */
    uint32_t kind_count;
    PyObject *names, *operators; /* keep the bytes alive */
    uint64_t *keywords;          /* hash table, 0 where empty */
    size_t keyword_mask;
    const char **operator_at; /* grouped by first byte, the longest first */
    uint16_t *operator_length;
    uint16_t operators_from[129];
    uint16_t alternative, update; /* fields */
    uint32_t budget, deepest;     /* steps of a flow, and visits inside each other */
    bool compat, bare_else, by_position;
} Language;

/* ---- words.c ---- */

enum { BAGS = 7, KEYWORDS = 4, SUBTREES = 5, FLOWS = 6 };

void words_of_ascii(Arena *arena, const Language *language, const char *text, size_t length,
                    Hashes *words);
void count_words(Arena *arena, const Language *language, const Hashes *words, Hashes bags[BAGS]);

/* ---- reading.c ---- */

typedef struct {
    uint32_t first, last; /* the tokens it covers, as in token[first:last] */
    uint32_t next;        /* the first node after all that are below it */
    uint16_t kind, field;
    bool special; /* it or a node below it is of a special kind */
} Node;

typedef struct {
    uint32_t start, end, kind;
} Token;

typedef struct {
    VECTOR(Node) nodes; /* parents before children, children from left to right */
    VECTOR(Token) tokens;
    Hashes subtrees;
} Tree;

/* The methods and attributes of tree_sitter's classes that are needed, looked up once. */
typedef struct {
    PyTypeObject *cursor;
    PyObject *node, *field, *kind, *start, *end, *missing;
    descrgetfunc get;
} Access;

typedef struct {
    Arena *arena;
    const Access *access;
    const Language *language;
    PyObject *cursor;
    bool fragment, broken, literals;
    PyObject *down, *across, *up, *node;
    Tree *tree;
} Reading;

/* Looks the methods up; false with a Python exception where they are not what is expected. */
bool look_up(Access *access, PyObject *cursor_type, PyObject *node_type);
void read_tree(void *reading);
void release_reading(Reading *reading);

/* ---- flow.c, flow_fixed.c, flow_compat.c ---- */

typedef struct {
    const uint32_t *at;
    uint32_t count;
} Span;

typedef struct {
    uint32_t place, name;
    bool variable, identifier;
} Row;

typedef struct {
    uint32_t place, name;
    uint32_t relation;
    Span names, places;
} Entry;

typedef VECTOR(Entry) Entries;

typedef struct {
    uint32_t name;
    Span places;
} Setting;

typedef struct {
    uint32_t count, room;
    Setting *at; /* hash table, the name ABSENT where empty */
} States;

typedef struct Round {
    States before, after;
    Entries flows;
    struct Round *next;
} Round;

typedef struct {
    const char *at;
    uint32_t length;
    bool hashed;
    uint64_t hash, string_hash;
} Name;

typedef struct {
    Arena *arena;
    const Language *language;
    const Tree *tree;
    const char *text;
    size_t length;
    PyObject *texts; /* texts and hashes of the tokens, where they are not simply the text's */
    int64_t budget;
    uint32_t depth;
    Row *rows;
    Name *names;
    uint32_t name_count;
    Round **rounds;          /* by node */
    uint32_t *slots, slot_base;  /* for merge: by place and relation */
    uint32_t *stamps, stamp; /* for unions: by name or place */
    Hashes *flows;
} Run;

enum { COMES_FROM, COMPUTED_FROM };

void find_flows(void *run);
void spend(Run *run, uint64_t steps);
void run_of_tokens(Run *run, uint32_t first, uint32_t last, States *states, Entries *out);
Span variables(Run *run, uint32_t node); /* numbers of rows */
void add(Run *run, Entries *out, uint32_t row, uint32_t relation, Span names, Span places);
void set(Run *run, States *states, uint32_t name, Span places);
void set_row(Run *run, States *states, uint32_t row);
States copy_of(Run *run, const States *states);
void join(Run *run, States *joined, const States *states);
void merge(Run *run, const Entries *entries, Entries *out);
/* `links_together`: every variable on the left comes from all on the right at once. */
void link_together(Run *run, uint32_t left, uint32_t right, uint32_t relation, States *states,
                   Entries *out);
typedef void Body(Run *run, uint32_t node, States *states, Entries *out);
void two_rounds(Run *run, uint32_t node, Body *body, States *states, Entries *out);
uint32_t by_field(const Run *run, uint32_t node, uint32_t field);
uint32_t last_child(const Run *run, uint32_t node);
Span in_set_order(Run *run, Span names);

void visit_fixed(Run *run, uint32_t node, States *states, Entries *out);
void visit_compat(Run *run, uint32_t node, States *states, Entries *out);

static inline const Node *node_at(const Run *run, uint32_t node) {
    return &run->tree->nodes.at[node];
}

static inline const Kind *kind_of(const Run *run, uint32_t node) {
    return &run->language->kinds[node_at(run, node)->kind];
}

/* Goes through the children of a node. */
#define EACH_CHILD(run, node, child)                                               \
    for (uint32_t child = (node) + 1; child < node_at(run, node)->next; \
         child = node_at(run, child)->next)

#endif
