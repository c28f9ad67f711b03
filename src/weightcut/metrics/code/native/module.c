/* The module weightcut.metrics.code._native: see _native.pyi for what it offers. */

#include "native.h"
#include "stripping.h"

#include <stdlib.h>

typedef struct {
    Access access;
    PyTypeObject *language, *text;
} State;

/* A text's bags of hashes: n-grams of orders 1 to 4, keywords, subtrees, flows. */
typedef struct {
    PyObject_HEAD
    uint64_t *hashes; /* all bags, one after the other */
    size_t start[BAGS + 1];
} Text;

static void *slot_of(PyObject *object, int slot) { return PyType_GetSlot(Py_TYPE(object), slot); }

static void free_object(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    ((freefunc)slot_of(object, Py_tp_free))(object);
    Py_DECREF(type);
}

static PyObject *new_object(PyTypeObject *type) {
    return ((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
}

/* ---- Language ---- */

static void free_language(PyObject *object) {
    Language *self = (Language *)object;
    free(self->kinds);
    free(self->keywords);
    free(self->operator_at);
    free(self->operator_length);
    Py_XDECREF(self->names);
    Py_XDECREF(self->operators);
    free_object(object);
}

/* Reads the kinds: six numbers of 16 bits each, and their names. */
static bool set_kinds(Language *self, const char *rules, Py_ssize_t size, PyObject *names) {
    enum { WIDTH = 6 * sizeof(uint16_t) };
    Py_ssize_t count = PyTuple_Size(names);
    if (count < 1 || count > 65536 || size != count * (Py_ssize_t)WIDTH) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "as many rules as names, please");
        return false;
    }
    self->names = Py_NewRef(names);
    self->kinds = calloc((size_t)count, sizeof *self->kinds);
    if (self->kinds == NULL) return PyErr_NoMemory() != NULL;
    self->kind_count = (uint32_t)count;
    for (Py_ssize_t i = 0; i < count; i++) {
        Kind *kind = &self->kinds[i];
        memcpy(kind, rules + i * WIDTH, WIDTH);
        char *name;
        Py_ssize_t length;
        if (PyBytes_AsStringAndSize(PyTuple_GetItem(names, i), &name, &length) < 0) return false;
        kind->name = name;
        kind->length = (size_t)length;
    }
    return true;
}

static bool set_keywords(Language *self, PyObject *keywords) {
    Py_ssize_t count = PyTuple_Size(keywords);
    if (count < 0) return false;
    size_t room = 8;
    while (room < (size_t)count * 4) room *= 2;
    self->keyword_mask = room - 1;
    self->keywords = calloc(room, sizeof *self->keywords);
    if (self->keywords == NULL) return PyErr_NoMemory() != NULL;
    for (Py_ssize_t i = 0; i < count; i++) {
        char *word;
        Py_ssize_t length;
        if (PyBytes_AsStringAndSize(PyTuple_GetItem(keywords, i), &word, &length) < 0) return false;
        uint64_t hash = hash_of_bytes(word, (size_t)length);
        size_t at = hash & self->keyword_mask;
        while (self->keywords[at] != 0) at = (at + 1) & self->keyword_mask;
        self->keywords[at] = hash;
    }
    return true;
}

/* The operators come sorted by first byte and falling length. */
static bool set_operators(Language *self, PyObject *operators) {
    Py_ssize_t count = PyTuple_Size(operators);
    if (count < 0) return false;
    self->operators = Py_NewRef(operators);
    self->operator_at = calloc((size_t)count + 1, sizeof *self->operator_at);
    self->operator_length = calloc((size_t)count + 1, sizeof *self->operator_length);
    if (!self->operator_at || !self->operator_length) return PyErr_NoMemory() != NULL;
    unsigned sign = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        char *at;
        Py_ssize_t length;
        if (PyBytes_AsStringAndSize(PyTuple_GetItem(operators, i), &at, &length) < 0) return false;
        if (length < 1 || length > 16 || (unsigned char)at[0] >= 128 ||
            (unsigned char)at[0] + 1u < sign) {
            PyErr_SetString(PyExc_ValueError, "operators are not sorted");
            return false;
        }
        while (sign <= (unsigned char)at[0]) self->operators_from[sign++] = (uint16_t)i;
        self->operator_at[i] = at;
        self->operator_length[i] = (uint16_t)length;
    }
    while (sign <= 128) self->operators_from[sign++] = (uint16_t)count;
    return true;
}

static PyObject *new_language(PyTypeObject *type, PyObject *args, PyObject *keywords_) {
    static char *names_of[] = {"rules",  "names",     "keywords",  "operators",   "alternative",
                               "update", "budget",    "deepest",   "is_compat",   "bare_else",
                               "by_position", NULL};
    const char *rules;
    Py_ssize_t size;
    PyObject *names, *keywords, *operators;
    unsigned short alternative, update;
    unsigned int budget, deepest;
    int compat, bare_else, by_position;
    if (!PyArg_ParseTupleAndKeywords(args, keywords_, "y#O!O!O!HHIIppp", names_of, &rules, &size,
                                     &PyTuple_Type, &names, &PyTuple_Type, &keywords,
                                     &PyTuple_Type, &operators, &alternative, &update, &budget,
                                     &deepest, &compat,
                                     &bare_else, &by_position))
        return NULL;
    Language *self = (Language *)new_object(type);
    if (self == NULL) return NULL;
    self->alternative = alternative;
    self->update = update;
    self->budget = budget;
    self->deepest = deepest;
    self->compat = compat;
    self->bare_else = bare_else;
    self->by_position = by_position;
    if (set_kinds(self, rules, size, names) && set_keywords(self, keywords) &&
        set_operators(self, operators))
        return (PyObject *)self;
    Py_DECREF(self);
    return NULL;
}

/* ---- Text ---- */

static void free_text(PyObject *object) {
    free(((Text *)object)->hashes);
    free_object(object);
}

static PyObject *new_text(PyTypeObject *type, const Hashes bags[BAGS]) {
    Text *self = (Text *)new_object(type);
    if (self == NULL) return NULL;
    for (int i = 0; i < BAGS; i++) self->start[i + 1] = self->start[i] + bags[i].count;
    self->hashes = malloc((self->start[BAGS] + 1) * sizeof *self->hashes);
    if (self->hashes == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    for (int i = 0; i < BAGS; i++) {
        if (bags[i].count)
            memcpy(self->hashes + self->start[i], bags[i].at, bags[i].count * sizeof(uint64_t));
    }
    return (PyObject *)self;
}

static PyObject *tuple_of(const size_t counts[BAGS]) {
    PyObject *tuple = PyTuple_New(BAGS);
    for (Py_ssize_t i = 0; tuple != NULL && i < BAGS; i++) {
        PyObject *count = PyLong_FromSize_t(counts[i]);
        if (count == NULL || PyTuple_SetItem(tuple, i, count) < 0) Py_CLEAR(tuple);
    }
    return tuple;
}

static PyObject *totals(PyObject *object, void *Py_UNUSED(closure)) {
    Text *self = (Text *)object;
    size_t counts[BAGS];
    for (int i = 0; i < BAGS; i++) counts[i] = self->start[i + 1] - self->start[i];
    return tuple_of(counts);
}

/* How often a hash was seen; bag: which one it is of, those of others are empty slots. */
typedef struct {
    uint64_t hash;
    uint32_t bag, count;
} Counted;

static Counted *counted(Counted *table, size_t mask, uint64_t hash, uint32_t bag) {
    size_t i = (size_t)(hash * UINT64_C(0x9E3779B97F4A7C15) >> 20) & mask;
    while (table[i].bag == bag && table[i].hash != hash) i = (i + 1) & mask;
    return &table[i];
}

/* Counts what two bags have in common: each thing as often as in both, or, not clipped, each
   thing of the other bag that is here at all as often as it is there. */
static size_t shared(const Text *ours, const Text *theirs, uint32_t bag, bool clipped,
                     Counted *table, size_t mask) {
    size_t found = 0;
    for (size_t i = ours->start[bag]; i < ours->start[bag + 1]; i++) {
        Counted *slot = counted(table, mask, ours->hashes[i], bag + 1);
        if (slot->bag != bag + 1) *slot = (Counted){ours->hashes[i], bag + 1, 0};
        slot->count++;
    }
    for (size_t i = theirs->start[bag]; i < theirs->start[bag + 1]; i++) {
        Counted *slot = counted(table, mask, theirs->hashes[i], bag + 1);
        if (slot->bag != bag + 1 || slot->count == 0) continue;
        found++;
        if (clipped) slot->count--;
    }
    return found;
}

static PyObject *shared_with(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    if (count != 2 || Py_TYPE(args[0]) != Py_TYPE(object)) {
        PyErr_SetString(PyExc_TypeError, "shared(reference: Text, clipped: bool)");
        return NULL;
    }
    Text *ours = (Text *)object, *theirs = (Text *)args[0];
    bool clipped = args[1] == Py_True;
    size_t largest = 1, room = 16;
    for (int i = 0; i < BAGS; i++) {
        size_t size = ours->start[i + 1] - ours->start[i];
        if (size > largest) largest = size;
    }
    while (room < largest * 2) room *= 2;
    Counted *table = calloc(room, sizeof *table);
    if (table == NULL) return PyErr_NoMemory();
    size_t found[BAGS];
    for (uint32_t i = 0; i < BAGS; i++)
        found[i] = shared(ours, theirs, i, i != SUBTREES || clipped, table, room - 1);
    free(table);
    return tuple_of(found);
}

/* ---- analyse ---- */

typedef struct {
    Arena *arena;
    const Language *language;
    PyObject *words; /* a text, or the list of its words */
    Hashes *bags;
} Splitting;

/* Hashes words that Python has split. */
static void hash_words(Splitting *splitting, Hashes *words) {
    Py_ssize_t count = PyList_Size(splitting->words);
    if (count < 0) fail(splitting->arena, PYTHON_ERROR);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *word = PyList_GetItem(splitting->words, i);
        PyObject *bytes = word ? PyUnicode_AsEncodedString(word, "utf-8", "surrogatepass") : NULL;
        char *at;
        Py_ssize_t length;
        if (bytes == NULL || PyBytes_AsStringAndSize(bytes, &at, &length) < 0) {
            Py_XDECREF(bytes);
            fail(splitting->arena, PYTHON_ERROR);
        }
        uint64_t hash = hash_of_bytes(at, (size_t)length);
        Py_DECREF(bytes);
        PUSH(splitting->arena, words, hash);
    }
}

/* Returns the text's signs, NULL with an exception where they are not all ASCII. */
static const char *ascii(PyObject *text, size_t *length) {
    Py_ssize_t size;
    const char *signs = PyUnicode_AsUTF8AndSize(text, &size);
    if (signs == NULL) return NULL;
    *length = (size_t)size;
    if (size == PyUnicode_GetLength(text)) return signs;
    PyErr_SetString(PyExc_ValueError, "a text of ASCII signs, please");
    return NULL;
}

static void split(void *data) {
    Splitting *splitting = data;
    Hashes words = {0};
    if (!PyUnicode_Check(splitting->words)) {
        hash_words(splitting, &words);
    } else {
        size_t length;
        const char *text = ascii(splitting->words, &length);
        if (text == NULL) fail(splitting->arena, PYTHON_ERROR);
        words_of_ascii(splitting->arena, splitting->language, text, length, &words);
    }
    count_words(splitting->arena, splitting->language, &words, splitting->bags);
}

/* Asks Python for the texts of all tokens; returns a list as long as there are tokens, or NULL. */
static PyObject *texts_of(PyObject *find_texts, const Tree *tree) {
    Py_ssize_t count = (Py_ssize_t)tree->tokens.count;
    PyObject *starts = PyList_New(count), *ends = PyList_New(count);
    for (Py_ssize_t i = 0; starts != NULL && ends != NULL && i < count; i++) {
        const Token *token = &tree->tokens.at[i];
        PyObject *start = PyLong_FromUnsignedLong(token->start);
        PyObject *end = PyLong_FromUnsignedLong(token->end);
        /* Both are given away, even where one is NULL, which fails. */
        int failed = PyList_SetItem(starts, i, start) < 0;
        failed |= PyList_SetItem(ends, i, end) < 0;
        if (failed || start == NULL || end == NULL) Py_CLEAR(starts);
    }
    PyObject *texts = NULL;
    if (starts != NULL && ends != NULL)
        texts = PyObject_CallFunctionObjArgs(find_texts, starts, ends, NULL);
    Py_XDECREF(starts);
    Py_XDECREF(ends);
    if (texts != NULL && (!PyList_Check(texts) || PyList_Size(texts) != count)) {
        PyErr_SetString(PyExc_ValueError, "a list with a text for each token, please");
        Py_CLEAR(texts);
    }
    return texts;
}

/* Fills the bags of subtrees and flows; returns DONE or why not. */
static int parse_tree(Arena *arena, const Access *access, const Language *language,
                      PyObject *const *args, Hashes bags[BAGS]) {
    char *text;
    Py_ssize_t length;
    if (Py_TYPE(args[2]) != access->cursor) {
        PyErr_SetString(PyExc_TypeError, "not a tree_sitter.TreeCursor");
        return PYTHON_ERROR;
    }
    if (PyBytes_AsStringAndSize(args[3], &text, &length) < 0) return PYTHON_ERROR;
    PyObject *find_texts = args[6] == Py_None ? NULL : args[6], *texts = NULL;
    Tree tree = {0};
    Reading reading = {
        .arena = arena,
        .access = access,
        .language = language,
        .cursor = args[2],
        .fragment = args[4] == Py_True,
        .broken = args[5] == Py_True,
        .literals = find_texts != NULL,
        .tree = &tree,
    };
    int why = guarded(arena, read_tree, &reading);
    release_reading(&reading);
    if (why != DONE) return why;
    bags[SUBTREES] = tree.subtrees;
    if (find_texts != NULL && (texts = texts_of(find_texts, &tree)) == NULL) return PYTHON_ERROR;
    Run run = {
        .arena = arena,
        .language = language,
        .tree = &tree,
        .text = text,
        .length = (size_t)length,
        .texts = texts,
        .budget = language->budget,
        .depth = language->deepest,
        .flows = &bags[FLOWS],
    };
    why = guarded(arena, find_flows, &run);
    Py_XDECREF(texts);
    if (why != NO_FLOW) return why;
    bags[FLOWS].count = 0;
    return DONE;
}

static PyObject *analyse(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    State *state = PyModule_GetState(module);
    if (count != 7 || Py_TYPE(args[0]) != state->language) {
        PyErr_SetString(PyExc_TypeError,
                        "analyse(language, words, cursor, data, fragment, broken, texts)");
        return NULL;
    }
    const Language *language = (const Language *)args[0];
    Arena arena = {0};
    Hashes bags[BAGS] = {{0}};
    Splitting splitting = {&arena, language, args[1], bags};
    int why = guarded(&arena, split, &splitting);
    if (why == DONE && args[2] != Py_None)
        why = parse_tree(&arena, &state->access, language, args, bags);
    PyObject *text = why == DONE ? new_text(state->text, bags) : NULL;
    release(&arena);
    return why == NO_MEMORY ? PyErr_NoMemory() : text;
}

static PyObject *strip(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count) {
    if (count != 2 || !PyUnicode_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "strip(text: str, is_python: bool)");
        return NULL;
    }
    Arena arena = {0};
    Stripping stripping = {.arena = &arena, .is_python = args[1] == Py_True};
    stripping.text = ascii(args[0], &stripping.length);
    if (stripping.text == NULL) return NULL;
    int why = guarded(&arena, strip_comments, &stripping);
    PyObject *stripped =
        why == DONE ? PyBytes_FromStringAndSize(stripping.out, (Py_ssize_t)stripping.kept)
                    : PyErr_NoMemory();
    release(&arena);
    return stripped;
}

/* ---- the module ---- */

static PyType_Slot language_slots[] = {
    {Py_tp_doc, "What the grammar and the rules of a language say, as tables."},
    {Py_tp_new, new_language},
    {Py_tp_dealloc, free_language},
    {0, NULL},
};
static PyType_Spec language_spec = {
    .name = "weightcut.metrics.code._native.Language",
    .basicsize = sizeof(Language),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = language_slots,
};

static PyMethodDef text_methods[] = {
    {"shared", (PyCFunction)(void (*)(void))shared_with, METH_FASTCALL,
     "Count what this text has in common with a reference, bag by bag."},
    {0},
};
static PyGetSetDef text_attributes[] = {
    {"totals", totals, NULL, "How much is in each bag.", NULL},
    {0},
};
static PyType_Slot text_slots[] = {
    {Py_tp_doc, "A text analysed once, for any number of comparisons."},
    {Py_tp_dealloc, free_text},
    {Py_tp_methods, text_methods},
    {Py_tp_getset, text_attributes},
    {0, NULL},
};
static PyType_Spec text_spec = {
    .name = "weightcut.metrics.code._native.Text",
    .basicsize = sizeof(Text),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = text_slots,
};

static int run_module(PyObject *module) {
    State *state = PyModule_GetState(module);
    state->language = (PyTypeObject *)PyType_FromModuleAndSpec(module, &language_spec, NULL);
    state->text = (PyTypeObject *)PyType_FromModuleAndSpec(module, &text_spec, NULL);
    PyObject *library = PyImport_ImportModule("tree_sitter");
    if (!state->language || !state->text || !library) {
        Py_XDECREF(library);
        return -1;
    }
    PyObject *cursor = PyObject_GetAttrString(library, "TreeCursor");
    PyObject *node = PyObject_GetAttrString(library, "Node");
    bool found = cursor && node && look_up(&state->access, cursor, node);
    Py_XDECREF(cursor);
    Py_XDECREF(node);
    Py_DECREF(library);
    if (!found) return -1;
    return PyModule_AddObjectRef(module, "Language", (PyObject *)state->language) < 0 ||
                   PyModule_AddObjectRef(module, "Text", (PyObject *)state->text) < 0
               ? -1
               : 0;
}

static int clear_module(PyObject *module) {
    State *state = PyModule_GetState(module);
    if (state == NULL) return 0;
    Access *access = &state->access;
    Py_CLEAR(state->language);
    Py_CLEAR(state->text);
    Py_CLEAR(access->cursor);
    Py_CLEAR(access->node);
    Py_CLEAR(access->field);
    Py_CLEAR(access->kind);
    Py_CLEAR(access->start);
    Py_CLEAR(access->end);
    Py_CLEAR(access->missing);
    return 0;
}

static void free_module(void *module) { clear_module(module); }

static PyMethodDef functions[] = {
    {"analyse", (PyCFunction)(void (*)(void))analyse, METH_FASTCALL,
     "analyse(language, words, cursor, data, fragment, broken, texts): see _native.pyi."},
    {"strip", (PyCFunction)(void (*)(void))strip, METH_FASTCALL,
     "strip(text, is_python): the text without comments, as in stripping.py."},
    {0},
};
static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, run_module}, {0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_native",
    .m_doc = "The compiled part of CodeBLEU.",
    .m_size = sizeof(State),
    .m_methods = functions,
    .m_slots = module_slots,
    .m_clear = clear_module,
    .m_free = free_module,
};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&definition); }
