/* The flows of fixed mode, as in flows.py. */

#include "native.h"

/* Goes through what is under a node from left to right, comprehensions' clauses first. */
static void walk(Run *run, uint32_t node, States *states, Entries *out) {
    const Node *at = node_at(run, node);
    spend(run, 1 + (uint64_t)at->last - at->first);
    if (!at->special) {
        run_of_tokens(run, at->first, at->last, states, out);
        return;
    }
    EACH_CHILD(run, node, child) {
        if (kind_of(run, child)->marks & FIRST) visit_fixed(run, child, states, out);
    }
    uint32_t position = at->first;
    EACH_CHILD(run, node, child) {
        const Node *below = node_at(run, child);
        if (!below->special) continue;
        run_of_tokens(run, position, below->first, states, out);
        if (!(kind_of(run, child)->marks & FIRST)) visit_fixed(run, child, states, out);
        position = below->last;
    }
    run_of_tokens(run, position, at->last, states, out);
}

/* Returns the child of that field, or the value that stands after '='. */
static uint32_t side(const Run *run, uint32_t node, uint32_t field) {
    if (field != AFTER_EQUALS) return by_field(run, node, field);
    uint32_t last = last_child(run, node);
    EACH_CHILD(run, node, child) {
        if (child != last && kind_of(run, child)->marks & EQUALS) return last;
    }
    return ABSENT;
}

static uint32_t count_items(const Run *run, uint32_t node) {
    uint32_t count = 0;
    EACH_CHILD(run, node, child) count += !(kind_of(run, child)->marks & SIGN);
    return count;
}

static uint32_t item_from(const Run *run, uint32_t child) {
    while (kind_of(run, child)->marks & SIGN) child = node_at(run, child)->next;
    return child;
}

/* `a, b = b, a` is two assignments. */
static void link_sides(Run *run, uint32_t left, uint32_t right, uint32_t relation, States *states,
                       Entries *out) {
    if (!(kind_of(run, left)->marks & LIST) || !(kind_of(run, right)->marks & LIST) ||
        count_items(run, left) != count_items(run, right)) {
        link_together(run, left, right, relation, states, out);
        return;
    }
    uint32_t target = left + 1, source = right + 1;
    for (uint32_t items = count_items(run, left); items > 0; items--) {
        target = item_from(run, target);
        source = item_from(run, source);
        link_together(run, target, source, relation, states, out);
        target = node_at(run, target)->next;
        source = node_at(run, source)->next;
    }
}

static void assign(Run *run, uint32_t node, uint32_t relation, States *states, Entries *out) {
    const Kind *kind = kind_of(run, node);
    uint32_t left = side(run, node, kind->left), right = side(run, node, kind->right);
    if (left == ABSENT) {
        walk(run, node, states, out);
    } else if (right == ABSENT) {
        Span targets = variables(run, left);
        for (uint32_t i = 0; i < targets.count; i++) set_row(run, states, targets.at[i]);
    } else {
        visit_fixed(run, right, states, out);
        link_sides(run, left, right, relation, states, out);
    }
}

static bool is_update(const Run *run, uint32_t node) {
    if (!(kind_of(run, node)->marks & UNARY)) return true;
    EACH_CHILD(run, node, child) {
        if (kind_of(run, child)->marks & STEP) return true;
    }
    return false;
}

static void branch(Run *run, uint32_t node, States *states, Entries *out) {
    uint32_t children = 0, last = last_child(run, node);
    EACH_CHILD(run, node, child) children++;
    spend(run, (uint64_t)states->count * children);
    States current = copy_of(run, states);
    VECTOR(States) ends = {0};
    EACH_CHILD(run, node, child) {
        if (node_at(run, child)->field == run->language->alternative) {
            States other = copy_of(run, states);
            visit_fixed(run, child, &other, out);
            PUSH(run->arena, &ends, other);
        } else {
            visit_fixed(run, child, &current, out);
        }
    }
    for (size_t i = 0; i < ends.count; i++) join(run, &current, &ends.at[i]);
    if (ends.count == 0 || kind_of(run, last)->marks & ELIF) join(run, &current, states);
    *states = current;
}

static void each(Run *run, uint32_t node, States *states, Entries *out) {
    const Kind *kind = kind_of(run, node);
    uint32_t target = side(run, node, kind->left), value = side(run, node, kind->right);
    if (target == ABSENT || value == ABSENT) {
        walk(run, node, states, out);
        return;
    }
    visit_fixed(run, value, states, out);
    link_together(run, target, value, COMPUTED_FROM, states, out);
    EACH_CHILD(run, node, child) {
        if (child != target && child != value) visit_fixed(run, child, states, out);
    }
}

void visit_fixed(Run *run, uint32_t node, States *states, Entries *out) {
    const Node *at = node_at(run, node);
    if (at->first == at->last) return;
    if (run->depth == 0) fail(run->arena, NO_FLOW);
    run->depth--;
    const Kind *kind = kind_of(run, node);
    switch (at->special ? kind->role : NO_ROLE) {
    case DEFINE:
        assign(run, node, COMES_FROM, states, out);
        break;
    case ASSIGN:
        assign(run, node, COMPUTED_FROM, states, out);
        break;
    case BRANCH:
        branch(run, node, states, out);
        break;
    case EACH:
        two_rounds(run, node, each, states, out);
        break;
    case AGAIN:
        two_rounds(run, node, walk, states, out);
        break;
    case UPDATE:
        walk(run, node, states, out);
        if (is_update(run, node))
            link_together(run, node, node, COMPUTED_FROM, states, out);
        break;
    default:
        walk(run, node, states, out);
    }
    run->depth++;
}
