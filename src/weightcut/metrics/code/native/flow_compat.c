/* The flows of compat mode, as in compat.py: those of `codebleu` 0.7.0, defects included. */

#include "native.h"

static void need(Run *run, uint32_t node) {
    if (node == ABSENT) fail(run->arena, NO_FLOW);
}

/* Lets every variable on the left come from every one on the right, pair by pair. */
static void link_one_by_one(Run *run, uint32_t left, uint32_t right, uint32_t relation,
                            States *states, Entries *out) {
    need(run, left);
    need(run, right);
    Span targets = variables(run, left), sources = variables(run, right);
    spend(run, (uint64_t)targets.count * (1 + (uint64_t)sources.count));
    for (uint32_t i = 0; i < targets.count; i++) {
        for (uint32_t k = 0; k < sources.count; k++) {
            const Row *source = &run->rows[sources.at[k]];
            add(run, out, targets.at[i], relation, (Span){&source->name, 1},
                (Span){&source->place, 1});
        }
        set_row(run, states, targets.at[i]);
    }
}

static void define(Run *run, uint32_t node, States *states, Entries *out) {
    const Kind *kind = kind_of(run, node);
    uint32_t name = by_field(run, node, kind->left), value = by_field(run, node, kind->right);
    if (run->language->by_position) {
        name = node + 1;
        value = node_at(run, name)->next;
        if (value >= node_at(run, node)->next ||
            node_at(run, value)->next != node_at(run, node)->next)
            value = ABSENT;
    }
    need(run, name);
    if (value != ABSENT) {
        visit_compat(run, value, states, out);
        link_one_by_one(run, name, value, COMES_FROM, states, out);
        return;
    }
    Span targets = variables(run, name);
    for (uint32_t i = 0; i < targets.count; i++) {
        add(run, out, targets.at[i], COMES_FROM, (Span){NULL, 0}, (Span){NULL, 0});
        set_row(run, states, targets.at[i]);
    }
}

static void assign(Run *run, uint32_t node, States *states, Entries *out) {
    const Kind *kind = kind_of(run, node);
    uint32_t left = by_field(run, node, kind->left), right = by_field(run, node, kind->right);
    visit_compat(run, right, states, out);
    link_one_by_one(run, left, right, COMPUTED_FROM, states, out);
}

static uint32_t count_items(const Run *run, uint32_t node) {
    uint32_t count = 0;
    EACH_CHILD(run, node, child) count += !(kind_of(run, child)->marks & COMMA);
    return count;
}

static uint32_t item_from(const Run *run, uint32_t child) {
    while (kind_of(run, child)->marks & COMMA) child = node_at(run, child)->next;
    return child;
}

/* Pairs the items of both sides where they are as many, else the sides as they are. */
static void unpack(Run *run, uint32_t left, uint32_t right, States *states, Entries *out) {
    need(run, left);
    need(run, right);
    uint32_t items = count_items(run, left);
    if (items == 0 || items != count_items(run, right)) {
        visit_compat(run, right, states, out);
        link_together(run, left, right, COMPUTED_FROM, states, out);
        return;
    }
    EACH_CHILD(run, right, source) {
        if (!(kind_of(run, source)->marks & COMMA)) visit_compat(run, source, states, out);
    }
    uint32_t target = left + 1, source = right + 1;
    for (; items > 0; items--) {
        target = item_from(run, target);
        source = item_from(run, source);
        link_together(run, target, source, COMPUTED_FROM, states, out);
        target = node_at(run, target)->next;
        source = node_at(run, source)->next;
    }
}

static void assign_each(Run *run, uint32_t node, States *states, Entries *out) {
    const Kind *kind = kind_of(run, node);
    uint32_t left = by_field(run, node, kind->left);
    if (kind->marks & FOR_IN) {
        uint32_t right = last_child(run, node);
        visit_compat(run, right, states, out);
        need(run, left);
        link_together(run, left, right, COMPUTED_FROM, states, out);
        return;
    }
    uint32_t right = by_field(run, node, kind->right);
    if (right != ABSENT) unpack(run, left, right, states, out);
}

static void branch(Run *run, uint32_t node, States *states, Entries *out) {
    uint32_t children = 0;
    EACH_CHILD(run, node, child) children++;
    spend(run, (uint64_t)states->count * children);
    States current = copy_of(run, states);
    VECTOR(States) ends = {0};
    bool has_else = false, past_else = false;
    EACH_CHILD(run, node, child) {
        unsigned marks = kind_of(run, child)->marks;
        has_else = has_else || marks & ELSE;
        past_else = past_else || marks & IF_OR_ELSE;
        if (run->language->bare_else ? past_else : (marks & CLAUSE) != 0) {
            States other = copy_of(run, states);
            visit_compat(run, child, &other, out);
            PUSH(run->arena, &ends, other);
        } else {
            visit_compat(run, child, &current, out);
        }
    }
    PUSH(run->arena, &ends, current);
    if (!has_else) {
        States unchanged = copy_of(run, states);
        PUSH(run->arena, &ends, unchanged);
    }
    States joined = copy_of(run, &ends.at[0]);
    for (size_t i = 1; i < ends.count; i++) join(run, &joined, &ends.at[i]);
    *states = joined;
}

static void each(Run *run, uint32_t node, States *states, Entries *out) {
    const Kind *kind = kind_of(run, node);
    uint32_t target = by_field(run, node, kind->left), value = by_field(run, node, kind->right);
    if (run->language->bare_else) {
        visit_compat(run, value, states, out);
        link_one_by_one(run, target, value, COMPUTED_FROM, states, out);
        visit_compat(run, by_field(run, node, kind->body), states, out);
        return;
    }
    unpack(run, target, value, states, out);
    uint32_t last = last_child(run, node);
    if (kind_of(run, last)->marks & BLOCK) visit_compat(run, last, states, out);
}

static void repeat(Run *run, uint32_t node, States *states, Entries *out) {
    EACH_CHILD(run, node, child) visit_compat(run, child, states, out);
}

/* Reads a for loop with a counter once, and then once more what follows the counter. */
static void counted(Run *run, uint32_t node, States *states, Entries *out) {
    Entries entries = {0};
    repeat(run, node, states, &entries);
    bool again = false;
    EACH_CHILD(run, node, child) {
        const Kind *kind = kind_of(run, child);
        if (again) {
            visit_compat(run, child, states, &entries);
        } else if (kind->marks & AGAIN_AFTER) {
            again = true;
            uint32_t step = by_field(run, child, run->language->update);
            if (step != ABSENT) visit_compat(run, step, states, &entries);
        }
    }
    merge(run, &entries, out);
}

static void walk(Run *run, uint32_t node, States *states, Entries *out) {
    const Node *at = node_at(run, node);
    EACH_CHILD(run, node, child) {
        if (kind_of(run, child)->marks & FIRST) visit_compat(run, child, states, out);
    }
    uint32_t position = at->first;
    EACH_CHILD(run, node, child) {
        const Node *below = node_at(run, child);
        if (!below->special) continue;
        run_of_tokens(run, position, below->first, states, out);
        if (!(kind_of(run, child)->marks & FIRST)) visit_compat(run, child, states, out);
        position = below->last;
    }
    run_of_tokens(run, position, at->last, states, out);
}

void visit_compat(Run *run, uint32_t node, States *states, Entries *out) {
    need(run, node);
    const Node *at = node_at(run, node);
    if (at->first == at->last && !at->special) return;
    spend(run, 1 + (uint64_t)at->last - at->first);
    if (!at->special) {
        run_of_tokens(run, at->first, at->last, states, out);
        return;
    }
    if (run->depth == 0) fail(run->arena, NO_FLOW);
    run->depth--;
    switch (kind_of(run, node)->role) {
    case DEFINE:
        define(run, node, states, out);
        break;
    case ASSIGN:
        assign(run, node, states, out);
        break;
    case ASSIGN_EACH:
        assign_each(run, node, states, out);
        break;
    case BRANCH:
        branch(run, node, states, out);
        break;
    case EACH:
        two_rounds(run, node, each, states, out);
        break;
    case AGAIN:
        two_rounds(run, node, repeat, states, out);
        break;
    case UPDATE:
        link_one_by_one(run, node, node, COMPUTED_FROM, states, out);
        break;
    case COUNTED:
        counted(run, node, states, out);
        break;
    default:
        walk(run, node, states, out);
    }
    run->depth++;
}
