/* Reading a syntax tree in one pass, as in tree.py, through tree_sitter's Python classes. */

#include "native.h"

static const uint64_t ROOT = UINT64_MAX; /* stands for the kind of every root */

typedef struct {
    uint32_t node;
    size_t subtrees, items; /* how many there were before it */
} Open;

/* The state of one pass: `items` holds, for each open node, its kind and then its children's
   hashes. */
typedef struct {
    Reading *reading;
    Hashes items;
    VECTOR(Open) open;
    uint32_t strings; /* how many of the open nodes are string literals */
} Pass;

static PyCFunction function_of(PyObject *method) { return PyCFunction_GetFunction(method); }

bool look_up(Access *access, PyObject *cursor_type, PyObject *node_type) {
    access->cursor = (PyTypeObject *)Py_NewRef(cursor_type);
    access->node = PyObject_GetAttrString(cursor_type, "node");
    access->field = PyObject_GetAttrString(cursor_type, "field_id");
    access->kind = PyObject_GetAttrString(node_type, "kind_id");
    access->start = PyObject_GetAttrString(node_type, "start_byte");
    access->end = PyObject_GetAttrString(node_type, "end_byte");
    access->missing = PyObject_GetAttrString(node_type, "is_missing");
    if (!access->node || !access->field || !access->kind || !access->start || !access->end ||
        !access->missing)
        return false;
    PyTypeObject *type = Py_TYPE(access->node);
    if (Py_TYPE(access->field) != type || Py_TYPE(access->kind) != type ||
        Py_TYPE(access->start) != type || Py_TYPE(access->end) != type ||
        Py_TYPE(access->missing) != type) {
        PyErr_SetString(PyExc_TypeError, "tree_sitter's attributes are not of one type");
        return false;
    }
    access->get = (descrgetfunc)PyType_GetSlot(type, Py_tp_descr_get);
    if (access->get == NULL) PyErr_SetString(PyExc_TypeError, "not an attribute of tree_sitter's");
    return access->get != NULL;
}

/* Returns a bound method that takes no arguments, so that its function can be called directly. */
static PyObject *method_of(Reading *reading, const char *name) {
    PyObject *method = PyObject_GetAttrString(reading->cursor, name);
    if (method == NULL) fail(reading->arena, PYTHON_ERROR);
    if (!PyObject_TypeCheck(method, &PyCFunction_Type) ||
        PyCFunction_GetFlags(method) != METH_NOARGS) {
        Py_DECREF(method);
        PyErr_Format(PyExc_TypeError, "tree_sitter's method %s is not what it was", name);
        fail(reading->arena, PYTHON_ERROR);
    }
    return method;
}

void release_reading(Reading *reading) {
    Py_CLEAR(reading->down);
    Py_CLEAR(reading->across);
    Py_CLEAR(reading->up);
    Py_CLEAR(reading->node);
}

static bool moved(Reading *reading, PyObject *method) {
    PyObject *answer = function_of(method)(reading->cursor, NULL);
    if (answer == NULL) fail(reading->arena, PYTHON_ERROR);
    bool yes = answer == Py_True;
    Py_DECREF(answer);
    return yes;
}

static PyObject *attribute(Reading *reading, PyObject *which, PyObject *object) {
    PyObject *value = reading->access->get(which, object, (PyObject *)Py_TYPE(object));
    if (value == NULL) fail(reading->arena, PYTHON_ERROR);
    return value;
}

/* Returns a number, 0 for None. */
static uint32_t number(Reading *reading, PyObject *which, PyObject *object) {
    PyObject *value = attribute(reading, which, object);
    unsigned long found = value == Py_None ? 0 : PyLong_AsUnsignedLong(value);
    Py_DECREF(value);
    if (found == (unsigned long)-1 && PyErr_Occurred()) fail(reading->arena, PYTHON_ERROR);
    return (uint32_t)found;
}

static void step_to_node(Reading *reading) {
    Py_CLEAR(reading->node);
    reading->node = attribute(reading, reading->access->node, reading->cursor);
}

static uint32_t kind_here(Reading *reading) {
    uint32_t kind = number(reading, reading->access->kind, reading->node);
    uint32_t last = reading->language->kind_count - 1;
    return kind < last ? kind : last;
}

/* Does the work of `_odd`: returns a hash of the leaf's s-expression, 0 where it is none. */
static uint64_t odd(Reading *reading, uint32_t kind) {
    PyObject *answer = attribute(reading, reading->access->missing, reading->node);
    bool missing = answer == Py_True;
    Py_DECREF(answer);
    if (!missing && kind != reading->language->kind_count - 1) return 0;
    PyObject *shown = PyObject_Str(reading->node);
    Py_ssize_t length = 0;
    const char *text = shown ? PyUnicode_AsUTF8AndSize(shown, &length) : NULL;
    uint64_t hash = 0;
    if (text != NULL && (missing || strcmp(text, "(ERROR)") != 0))
        hash = hash_of_bytes(text, (size_t)length);
    Py_XDECREF(shown);
    if (text == NULL) fail(reading->arena, PYTHON_ERROR);
    return hash;
}

static void add_token(Reading *reading, uint32_t kind) {
    Token token = {
        .start = number(reading, reading->access->start, reading->node),
        .end = number(reading, reading->access->end, reading->node),
        .kind = kind,
    };
    PUSH(reading->arena, &reading->tree->tokens, token);
}

static void leaf(Pass *pass, uint32_t kind, uint32_t field) {
    Reading *reading = pass->reading;
    Arena *arena = reading->arena;
    unsigned flags = reading->language->kinds[kind].flags;
    bool whole = !reading->language->compat;
    uint64_t item = kind + ((uint64_t)field << 16);
    if (flags & COMMENT) {
        if (!whole) PUSH(arena, &pass->items, item);
        return;
    }
    uint64_t strange = reading->broken ? odd(reading, kind) : 0;
    if (!pass->strings && (flags || strange || reading->literals)) add_token(reading, kind);
    if (strange)
        PUSH(arena, &pass->items, strange);
    else if (whole || flags & NAMED)
        PUSH(arena, &pass->items, item);
}

static uint64_t shape_of(const uint64_t *items, size_t count) {
    if (count == 1) return items[0];
    uint64_t hash = count;
    for (size_t i = 0; i < count; i++) hash = mixed(hash, items[i]);
    return hash;
}

/* Leaves out the kind of the root, and of a fragment the braces that were put around it. */
static void bare_root(Pass *pass, size_t start) {
    Hashes *items = &pass->items;
    items->at[start] = ROOT;
    if (!pass->reading->fragment) return;
    if (items->count - start <= 3) {
        items->count = start + 1;
        return;
    }
    items->count -= 2;
    memmove(items->at + start + 1, items->at + start + 2,
            (items->count - start - 1) * sizeof *items->at);
}

static void close_node(Pass *pass) {
    Reading *reading = pass->reading;
    Tree *tree = reading->tree;
    Open open = pass->open.at[--pass->open.count];
    Node *node = &tree->nodes.at[open.node];
    unsigned flags = reading->language->kinds[node->kind].flags;
    bool whole = !reading->language->compat;
    if (whole && pass->open.count == 0) bare_root(pass, open.items);
    if (flags & TOKEN) {
        tree->nodes.count = open.node + 1; /* what is in a string is of no interest */
        node->special = false;
        if (--pass->strings == 0) {
            step_to_node(reading);
            add_token(reading, node->kind);
        }
    }
    node->next = (uint32_t)tree->nodes.count;
    node->last = (uint32_t)tree->tokens.count;
    uint64_t *items = pass->items.at + open.items;
    size_t count = pass->items.count - open.items;
    uint64_t shape = shape_of(items, count);
    PUSH(reading->arena, &tree->subtrees, shape);
    const Token *tokens = tree->tokens.at;
    if (flags & STATEMENT && node->last - node->first == 1 &&
        reading->language->kinds[tokens[node->first].kind].flags & TOKEN) {
        tree->subtrees.count = open.subtrees;
        pass->items.count = open.items;
    } else if (whole || flags & NAMED) {
        items[0] = shape + ((uint64_t)node->field << 16);
        pass->items.count = open.items + 1;
    } else {
        memmove(items, items + 1, (count - 1) * sizeof *items);
        pass->items.count -= 1;
    }
    if (pass->open.count && node->special)
        tree->nodes.at[pass->open.at[pass->open.count - 1].node].special = true;
}

/* Does the work of `read`; the argument is a Reading. */
void read_tree(void *data) {
    Reading *reading = data;
    Arena *arena = reading->arena;
    Tree *tree = reading->tree;
    Pass pass = {.reading = reading};
    reading->down = method_of(reading, "goto_first_child");
    reading->across = method_of(reading, "goto_next_sibling");
    reading->up = method_of(reading, "goto_parent");
    for (;;) {
        step_to_node(reading);
        uint32_t kind = kind_here(reading);
        unsigned flags = reading->language->kinds[kind].flags;
        uint32_t field =
            flags & NAMED ? number(reading, reading->access->field, reading->cursor) : 0;
        Node node = {
            .first = (uint32_t)tree->tokens.count,
            .kind = (uint16_t)kind,
            .field = (uint16_t)field,
        };
        uint32_t index = (uint32_t)tree->nodes.count;
        PUSH(arena, &tree->nodes, node);
        /* Nothing is below a literal token, but for what errors bring. */
        if ((flags || reading->broken) && moved(reading, reading->down)) {
            tree->nodes.at[index].special = (flags & SPECIAL) != 0;
            Open open = {index, tree->subtrees.count, pass.items.count};
            PUSH(arena, &pass.open, open);
            PUSH(arena, &pass.items, kind);
            pass.strings += (flags & TOKEN) != 0;
            continue;
        }
        leaf(&pass, kind, field);
        tree->nodes.at[index].next = index + 1;
        tree->nodes.at[index].last = (uint32_t)tree->tokens.count;
        while (pass.open.count == 0 || !moved(reading, reading->across)) {
            if (pass.open.count == 0) {
                if (tree->subtrees.count == 0) tree->subtrees = pass.items;
                return;
            }
            moved(reading, reading->up);
            close_node(&pass);
        }
    }
}
