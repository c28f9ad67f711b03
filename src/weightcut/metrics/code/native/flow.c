/* Flows of values: what both modes share, as in dataflow.py. */

#include "native.h"

static void visit(Run *run, uint32_t node, States *states, Entries *out) {
    if (run->language->compat)
        visit_compat(run, node, states, out);
    else
        visit_fixed(run, node, states, out);
}

void spend(Run *run, uint64_t steps) {
    if (steps > (uint64_t)run->budget) fail(run->arena, NO_FLOW);
    run->budget -= (int64_t)steps;
}

/* ---- states: where each name was set last ---- */

static uint32_t slot_of(const States *states, uint32_t name) {
    uint32_t mask = states->room - 1, i = (name * UINT32_C(0x9E3779B1)) & mask;
    while (states->at[i].name != ABSENT && states->at[i].name != name) i = (i + 1) & mask;
    return i;
}

static void make_room(Run *run, States *states, uint32_t room) {
    States wider = {.count = states->count, .room = room};
    wider.at = take(run->arena, room, sizeof *wider.at);
    for (uint32_t i = 0; i < room; i++) wider.at[i].name = ABSENT;
    for (uint32_t i = 0; i < states->room; i++) {
        if (states->at[i].name != ABSENT)
            wider.at[slot_of(&wider, states->at[i].name)] = states->at[i];
    }
    *states = wider;
}

static const Setting *known(const States *states, uint32_t name) {
    if (states->room == 0) return NULL;
    const Setting *setting = &states->at[slot_of(states, name)];
    return setting->name == ABSENT ? NULL : setting;
}

void set(Run *run, States *states, uint32_t name, Span places) {
    if (states->count * 2 >= states->room)
        make_room(run, states, states->room ? states->room * 2 : 16);
    Setting *setting = &states->at[slot_of(states, name)];
    if (setting->name == ABSENT) states->count++;
    *setting = (Setting){name, places};
}

void set_row(Run *run, States *states, uint32_t row) {
    Row *at = &run->rows[row];
    set(run, states, at->name, (Span){&at->place, 1});
}

States copy_of(Run *run, const States *states) {
    States copy = *states;
    if (copy.room == 0) return copy;
    copy.at = take(run->arena, copy.room, sizeof *copy.at);
    memcpy(copy.at, states->at, copy.room * sizeof *copy.at);
    return copy;
}

static bool same_span(Span a, Span b) {
    return a.count == b.count &&
           (a.at == b.at || memcmp(a.at, b.at, a.count * sizeof *a.at) == 0);
}

static bool same_states(const States *a, const States *b) {
    if (a->count != b->count) return false;
    for (uint32_t i = 0; i < a->room; i++) {
        if (a->at[i].name == ABSENT) continue;
        const Setting *other = known(b, a->at[i].name);
        if (other == NULL || !same_span(a->at[i].places, other->places)) return false;
    }
    return true;
}

/* Returns the places of both, which are in ascending order, in ascending order. */
static Span sorted_union(Run *run, Span a, Span b) {
    uint32_t *at = take(run->arena, (size_t)a.count + b.count, sizeof *at);
    uint32_t i = 0, j = 0, count = 0;
    while (i < a.count || j < b.count) {
        if (j == b.count || (i < a.count && a.at[i] < b.at[j])) {
            at[count++] = a.at[i++];
        } else {
            i += i < a.count && a.at[i] == b.at[j];
            at[count++] = b.at[j++];
        }
    }
    return (Span){at, count};
}

/* Does the work of `join`, one of the states after the other. */
void join(Run *run, States *joined, const States *states) {
    spend(run, states->count);
    for (uint32_t i = 0; i < states->room; i++) {
        const Setting *setting = &states->at[i];
        if (setting->name == ABSENT) continue;
        const Setting *before = known(joined, setting->name);
        if (before == NULL) {
            set(run, joined, setting->name, setting->places);
        } else if (!same_span(before->places, setting->places)) {
            spend(run, (uint64_t)before->places.count + setting->places.count);
            set(run, joined, setting->name, sorted_union(run, before->places, setting->places));
        }
    }
}

/* ---- entries: one flow each ---- */

void add(Run *run, Entries *out, uint32_t row, uint32_t relation, Span names, Span places) {
    Entry entry = {run->rows[row].place, run->rows[row].name, relation, names, places};
    PUSH(run->arena, out, entry);
}

void run_of_tokens(Run *run, uint32_t first, uint32_t last, States *states, Entries *out) {
    const Span nothing = {NULL, 0};
    for (uint32_t i = first; i < last; i++) {
        const Row *row = &run->rows[i];
        if (!row->variable) continue;
        const Setting *setting = known(states, row->name);
        if (setting != NULL) {
            if (setting->places.count > 1) spend(run, setting->places.count);
            add(run, out, i, COMES_FROM, (Span){&row->name, 1}, setting->places);
        } else {
            if (row->identifier) set_row(run, states, i);
            add(run, out, i, COMES_FROM, nothing, nothing);
        }
    }
}

Span variables(Run *run, uint32_t node) {
    const Node *at = node_at(run, node);
    uint32_t *rows = take(run->arena, at->last - at->first, sizeof *rows);
    uint32_t count = 0;
    for (uint32_t i = at->first; i < at->last; i++) {
        if (run->rows[i].variable) rows[count++] = i;
    }
    return (Span){rows, count};
}

void link_together(Run *run, uint32_t left, uint32_t right, uint32_t relation, States *states,
                   Entries *out) {
    Span targets = variables(run, left), sources = variables(run, right);
    spend(run, (uint64_t)targets.count * (1 + (uint64_t)sources.count));
    uint32_t *names = take(run->arena, sources.count, sizeof *names);
    uint32_t *places = take(run->arena, sources.count, sizeof *places);
    for (uint32_t i = 0; i < sources.count; i++) {
        names[i] = run->rows[sources.at[i]].name;
        places[i] = run->rows[sources.at[i]].place;
    }
    Span all_names = {names, sources.count}, all_places = {places, sources.count};
    for (uint32_t i = 0; i < targets.count; i++) {
        add(run, out, targets.at[i], relation, all_names, all_places);
        set_row(run, states, targets.at[i]);
    }
}

/* Returns what is in either without repetition, in the order of first appearance. */
static Span united(Run *run, Span a, Span b) {
    uint32_t *at = take(run->arena, (size_t)a.count + b.count, sizeof *at);
    uint32_t count = 0;
    run->stamp++;
    for (uint32_t i = 0; i < a.count + b.count; i++) {
        uint32_t one = i < a.count ? a.at[i] : b.at[i - a.count];
        if (run->stamps[one] == run->stamp) continue;
        run->stamps[one] = run->stamp;
        at[count++] = one;
    }
    return (Span){at, count};
}

static Span united_names(Run *run, Span a, Span b) {
    spend(run, (uint64_t)a.count + b.count);
    Span names = united(run, a, b);
    return run->language->compat ? in_set_order(run, names) : names;
}

/* Sorts by place; entries of one place keep their order. */
static void sort_entries(Run *run, Entries *entries) {
    Entry *from = entries->at, *to = NULL;
    size_t count = entries->count, i = 1;
    while (i < count && from[i - 1].place <= from[i].place) i++;
    if (i >= count) return;
    to = take(run->arena, count, sizeof *to);
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t start = 0; start < count; start += 2 * width) {
            size_t middle = start + width < count ? start + width : count;
            size_t end = start + 2 * width < count ? start + 2 * width : count;
            size_t a = start, b = middle;
            for (size_t k = start; k < end; k++) {
                bool left = a < middle && (b == end || from[a].place <= from[b].place);
                to[k] = from[left ? a++ : b++];
            }
        }
        Entry *swapped = from;
        from = to;
        to = swapped;
    }
    entries->at = from;
}

/* Does the work of `merge`, and adds what comes out to `out`. */
void merge(Run *run, const Entries *entries, Entries *out) {
    Entries merged = {0};
    uint32_t base = run->slot_base;
    for (size_t i = 0; i < entries->count; i++) {
        const Entry *entry = &entries->at[i];
        uint32_t *slot = &run->slots[entry->place * 2 + entry->relation];
        if (*slot <= base) {
            PUSH(run->arena, &merged, *entry);
            *slot = base + (uint32_t)merged.count;
            continue;
        }
        Entry *before = &merged.at[*slot - base - 1];
        if (entry->names.count == 0 && before->names.count == 0) continue;
        before->names = united_names(run, before->names, entry->names);
        spend(run, (uint64_t)before->places.count + entry->places.count);
        before->places = united(run, before->places, entry->places);
    }
    run->slot_base += (uint32_t)merged.count;
    sort_entries(run, &merged);
    for (size_t i = 0; i < merged.count; i++) PUSH(run->arena, out, merged.at[i]);
}

void two_rounds(Run *run, uint32_t node, Body *body, States *states, Entries *out) {
    Entries entries = {0};
    for (int i = 0; i < 2; i++) {
        uint64_t seen = 0;
        for (Round *round = run->rounds[node]; round != NULL; round = round->next) seen++;
        spend(run, 1 + states->count * (1 + seen));
        Round *found = run->rounds[node];
        while (found != NULL && !same_states(&found->before, states)) found = found->next;
        if (found == NULL) {
            found = take_zeroed(run->arena, 1, sizeof *found);
            found->before = copy_of(run, states);
            body(run, node, states, &found->flows);
            found->after = copy_of(run, states);
            found->next = run->rounds[node];
            run->rounds[node] = found;
        }
        for (size_t k = 0; k < found->flows.count; k++)
            PUSH(run->arena, &entries, found->flows.at[k]);
        *states = copy_of(run, &found->after);
    }
    spend(run, entries.count);
    merge(run, &entries, out);
}

/* ---- the skeleton ---- */

uint32_t by_field(const Run *run, uint32_t node, uint32_t field) {
    if (node == ABSENT) return ABSENT;
    EACH_CHILD(run, node, child) {
        if (node_at(run, child)->field == field) return child;
    }
    return ABSENT;
}

uint32_t last_child(const Run *run, uint32_t node) {
    uint32_t last = ABSENT;
    EACH_CHILD(run, node, child) last = child;
    return last;
}

/* ---- from tokens to rows, and from entries to shapes ---- */

/* Returns the token's text; in compat mode without its line breaks. */
static Name name_of(Run *run, const Token *token) {
    if (token->start > token->end || token->end > run->length) fail(run->arena, NO_FLOW);
    const char *at = run->text + token->start;
    uint32_t length = token->end - token->start;
    if (run->language->compat && length && memchr(at, '\n', length) != NULL) {
        char *bare = take(run->arena, length, 1);
        uint32_t kept = 0;
        for (uint32_t i = 0; i < length; i++) {
            if (at[i] != '\n') bare[kept++] = at[i];
        }
        at = bare;
        length = kept;
    }
    return (Name){.at = at, .length = length, .hash = hash_of_bytes(at, length)};
}

/* Returns the text that Python has found for a token, which is a tuple of bytes and hash. */
static Name given_name(Run *run, size_t token) {
    PyObject *pair = PyList_GetItem(run->texts, (Py_ssize_t)token);
    PyObject *text = pair ? PyTuple_GetItem(pair, 0) : NULL;
    PyObject *hash = text ? PyTuple_GetItem(pair, 1) : NULL;
    char *at;
    Py_ssize_t length;
    if (hash == NULL || PyBytes_AsStringAndSize(text, &at, &length) < 0)
        fail(run->arena, PYTHON_ERROR);
    Name name = {.at = at, .length = (uint32_t)length, .hashed = true};
    name.hash = hash_of_bytes(at, name.length);
    name.string_hash = PyLong_AsUnsignedLongLong(hash);
    if (name.string_hash == UINT64_MAX && PyErr_Occurred()) fail(run->arena, PYTHON_ERROR);
    return name;
}

static uint32_t number_of(Run *run, uint32_t *table, uint32_t mask, const Name *name) {
    uint32_t i = (uint32_t)name->hash & mask;
    for (; table[i] != 0; i = (i + 1) & mask) {
        const Name *other = &run->names[table[i] - 1];
        if (other->hash == name->hash && other->length == name->length &&
            memcmp(other->at, name->at, name->length) == 0)
            return table[i] - 1;
    }
    run->names[run->name_count++] = *name;
    table[i] = run->name_count;
    return run->name_count - 1;
}

static void make_rows(Run *run) {
    const Tree *tree = run->tree;
    size_t count = tree->tokens.count;
    uint32_t room = 16;
    while (room < count * 2) room *= 2;
    uint32_t *table = take_zeroed(run->arena, room, sizeof *table);
    run->rows = take(run->arena, count, sizeof *run->rows);
    run->names = take(run->arena, count, sizeof *run->names);
    for (size_t i = 0; i < count; i++) {
        const Token *token = &tree->tokens.at[i];
        const Kind *kind = &run->language->kinds[token->kind];
        Name name = run->texts ? given_name(run, i) : name_of(run, token);
        run->rows[i] = (Row){
            .place = (uint32_t)i,
            .name = number_of(run, table, room - 1, &name),
            .variable = name.length != kind->length ||
                        memcmp(name.at, kind->name, name.length) != 0,
            .identifier = (kind->marks & IDENTIFIER) != 0,
        };
    }
    for (size_t i = count; i-- > 1;) {
        const Token *token = &tree->tokens.at[i - 1], *next = token + 1;
        if (token->start == next->start && token->end == next->end)
            run->rows[i - 1].place = run->rows[i].place;
    }
}

static void add_shape(Run *run, const Entry *entry, Span names, uint32_t *numbers,
                      uint32_t *numbered) {
    uint64_t hash = mixed(entry->relation, names.count);
    for (uint32_t i = 0; i < names.count; i++) {
        uint32_t *number = &numbers[names.at[i]];
        if (*number == 0) *number = ++*numbered;
        hash = mixed(hash, *number);
    }
    if (numbers[entry->name] == 0) numbers[entry->name] = ++*numbered;
    PUSH(run->arena, run->flows, mixed(hash, numbers[entry->name]));
}

/* Does the work of `normalized`. */
static void add_shapes(Run *run, Entries *entries) {
    sort_entries(run, entries);
    bool *used = take_zeroed(run->arena, run->tree->tokens.count, sizeof *used);
    for (size_t i = 0; i < entries->count; i++) {
        const Entry *entry = &entries->at[i];
        for (uint32_t k = 0; k < entry->places.count; k++) used[entry->places.at[k]] = true;
        if (entry->places.count) used[entry->place] = true;
    }
    uint32_t *numbers = take_zeroed(run->arena, run->name_count, sizeof *numbers);
    uint32_t numbered = 0;
    for (size_t i = 0, next; i < entries->count; i = next) {
        const Entry *entry = &entries->at[i];
        Span names = entry->names;
        next = i + 1;
        if (!used[entry->place]) continue;
        for (; next < entries->count && entries->at[next].place == entry->place; next++)
            names = united_names(run, names, entries->at[next].names);
        add_shape(run, entry, names, numbers, &numbered);
    }
}

/* Puts the shapes of all flows into `flows`; the argument is a Run. */
void find_flows(void *data) {
    Run *run = data;
    size_t tokens = run->tree->tokens.count;
    States states = {0};
    Entries entries = {0};
    make_rows(run);
    run->rounds = take_zeroed(run->arena, run->tree->nodes.count, sizeof(Round *));
    run->slots = take_zeroed(run->arena, tokens * 2, sizeof *run->slots);
    run->stamps = take_zeroed(run->arena, tokens, sizeof *run->stamps);
    visit(run, 0, &states, &entries);
    add_shapes(run, &entries);
}
