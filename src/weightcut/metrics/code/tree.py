"""A syntax tree read once: hashes of its subtrees, its tokens, and a skeleton of its nodes."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from weightcut.metrics.code.languages import ERROR_KIND, Grammar

if TYPE_CHECKING:
    import tree_sitter

ROOT_KIND = -1
_ODD = 1 << 40  # beyond every symbol and field
_NAMED, _TOKEN, _COMMENT, _SPECIAL, _STATEMENT, _IRREGULAR = 1, 2, 4, 8, 16, 32


class Node(NamedTuple):
    """A node of the skeleton; first and last say which tokens it covers, as in token[first:last].

    children: where nothing below a child is of interest (see `Reader`), it may be left out.
    special: whether it or a node below it is of a kind that the reader asked for.
    """

    kind: int
    field: int
    first: int
    last: int
    children: list[Node]
    special: bool

    def by_field(self, number: int) -> Node | None:
        """Return the first child under the field of this number."""
        for child in self.children:
            if child.field == number:
                return child
        return None


@dataclass
class Tree:
    """What the metrics need of a text: see `read`.

    root: the skeleton. subtrees: a hash for each inner node, equal where the subtrees have the
    same shape. kinds, starts, ends: symbol and byte range of each token.
    """

    root: Node
    subtrees: list[int]
    kinds: list[int]
    starts: list[int]
    ends: list[int]


@dataclass(frozen=True, eq=False)
class Reader:
    """How trees of one grammar are read: for each symbol, what it is, as bits.

    whole: literal tokens (operators, keywords, brackets) are part of a subtree's shape, and
    comments and strings that stand alone (docstrings) are not; otherwise the shape is what
    tree-sitter's s-expression shows: named nodes and their fields.
    """

    flags: dict[int, int]
    whole: bool


def reader(grammar: Grammar, special: frozenset[int], *, whole: bool) -> Reader:
    """Return the reader that keeps the nodes of the kinds in `special` in the skeleton.

    Their children and grandchildren are kept too, and what leads to them.
    """
    literals = ("string_literal", "string", "character_literal")
    flags = {}
    for kind, name in grammar.names.items():
        comment = name.endswith("comment") if whole else name == "comment"
        if kind in grammar.named:
            flags[kind] = (
                _NAMED
                | (_TOKEN if name in literals else 0)
                | (_COMMENT if comment else 0)
                | (_SPECIAL if kind in special else 0)
                | (_STATEMENT if whole and name == "expression_statement" else 0)
            )
        else:
            # `not  in` is one token whose text may differ from its name.
            flags[kind] = _IRREGULAR if any(map(str.isspace, name)) else 0
    return Reader(flags, whole)


def read(
    root: tree_sitter.Node, reader: Reader, *, fragment: bool = False, literals: bool = False
) -> Tree:
    """Read a tree.

    fragment: its root is a body in braces put around the text. literals: take literal tokens too
    as tokens; otherwise they are left out, but for those whose text may differ from their name.

    A string is one token, whatever is in it. A subtree's hash is made of its kind and of the hashes
    and fields of its children; it is the same in every process, being made of numbers alone.
    """
    if root.child_count and not literals:
        try:
            return _read_usual(root, reader, fragment)
        except RecursionError:
            pass
    return _read_any(root, reader, fragment, literals)


def _read_usual(root: tree_sitter.Node, reader: Reader, fragment: bool) -> Tree:
    """Read a tree by recursion, which is faster than keeping a stack, but only so deep."""
    flags_of, whole, broken = reader.flags, reader.whole, root.has_error
    subtrees: list[int] = []
    kinds: list[int] = []
    starts: list[int] = []
    ends: list[int] = []
    cursor: Any = root.walk()
    down, across, up = cursor.goto_first_child, cursor.goto_next_sibling, cursor.goto_parent

    def below(kind: int, label: int, flags: int, detail: int) -> tuple[list[int], Node | None]:
        """Read a node from its first child on, where the cursor is; leave it at the last one."""
        first, mark = len(kinds), len(subtrees)
        special = flags & _SPECIAL != 0
        inside = 2 if special else detail - 1
        items = [kind]
        kept: list[Node] = []
        while True:
            node = cursor.node
            here = node.kind_id
            what = flags_of[here]
            place = len(kinds)
            if not what and not broken:
                if whole:
                    items.append(here)
                if inside > 0:
                    kept.append(Node(here, 0, place, place, [], False))
            else:
                field = (cursor.field_id or 0) if what & _NAMED else 0
                if down():
                    inner, skeleton = below(here, field, what, inside)
                    up()
                    if what & _TOKEN:
                        del kinds[place:], starts[place:], ends[place:]
                        kinds.append(here)
                        starts.append(node.start_byte)
                        ends.append(node.end_byte)
                        skeleton = Node(here, field, place, place + 1, [], False)
                    items += inner
                    if skeleton is not None:
                        if skeleton.special:
                            special = True
                        if skeleton.special or inside > 0:
                            kept.append(skeleton)
                else:
                    odd = broken and _odd(node, here)
                    if odd or (what and not what & _COMMENT):
                        kinds.append(here)
                        starts.append(node.start_byte)
                        ends.append(node.end_byte)
                    if odd:
                        items.append(zlib.crc32(str(node).encode()) | _ODD)
                    elif not what & _COMMENT if whole else what & _NAMED:
                        items.append(here + (field << 16))
                    if inside > 0:
                        kept.append(Node(here, field, place, len(kinds), [], False))
            if not across():
                break
        last = len(kinds)
        if flags & _STATEMENT and last - first == 1 and flags_of[kinds[first]] & _TOKEN:
            del subtrees[mark:]
            items = []
        else:
            if fragment and kind == ROOT_KIND:
                del items[1], items[-1]
            subtrees.append(hash(tuple(items)) if len(items) > 1 else kind)
            items = [subtrees[-1] + (label << 16)] if flags & _NAMED or whole else items[1:]
        wanted = special or detail > 0
        return items, Node(kind, label, first, last, kept, special) if wanted else None

    down()
    kind = root.kind_id
    skeleton = below(ROOT_KIND if whole else kind, 0, flags_of[kind] & ~_STATEMENT, 1)[1]
    assert skeleton is not None
    return Tree(skeleton, subtrees, kinds, starts, ends)


def _odd(node: tree_sitter.Node, kind: int) -> bool:
    """Return whether a leaf stands for an error, of which the s-expression tells more."""
    return node.is_missing or (kind == ERROR_KIND and str(node) != "(ERROR)")


def _read_any(root: tree_sitter.Node, reader: Reader, fragment: bool, literals: bool) -> Tree:
    """Read any tree, without recursion: no depth of nesting is too much."""
    flags_of, whole = reader.flags, reader.whole
    broken = root.has_error
    subtrees: list[int] = []
    kinds: list[int] = []
    starts: list[int] = []
    ends: list[int] = []
    cursor: Any = root.walk()
    down, across, up = cursor.goto_first_child, cursor.goto_next_sibling, cursor.goto_parent
    # The node whose children are being read; those around it wait on the stack.
    kind, field, flags, first, mark = ROOT_KIND, 0, _NAMED, 0, 0
    detail, in_string, special = 1, 0, False
    children: list[Node] = []
    items: list[int] = [ROOT_KIND]
    stack: list[tuple[int, int, int, int, int, int, bool, list[Node], list[int]]] = []
    while True:
        node = cursor.node
        here = node.kind_id
        what = flags_of[here]
        label = (cursor.field_id or 0) if what & _NAMED else 0
        if (what or broken) and down():
            stack.append((kind, field, flags, first, mark, detail, special, children, items))
            kind, field, flags, first, mark = here, label, what, len(starts), len(subtrees)
            detail = 2 if what & _SPECIAL else detail - 1
            special = what & _SPECIAL != 0
            children, items = [], [here]
            if what & _TOKEN:
                in_string += 1
            continue
        place = len(starts)
        if not what & _COMMENT:
            odd = broken and _odd(node, here)
            if not in_string and (what or odd or literals):
                kinds.append(here)
                starts.append(node.start_byte)
                ends.append(node.end_byte)
            if odd:
                items.append(zlib.crc32(str(node).encode()) | _ODD)
            elif what & _NAMED or whole:
                items.append(here + (label << 16))
        elif not whole:
            items.append(here + (label << 16))
        if detail > 0:
            children.append(Node(here, label, place, len(starts), [], False))
        while not across():
            if not stack:
                return Tree(children[0], subtrees or items[1:], kinds, starts, ends)
            up()
            if whole and len(stack) == 1:
                items = [ROOT_KIND, *(items[2:-1] if fragment else items[1:])]
            last = len(starts)
            if flags & _TOKEN:
                in_string -= 1
                if not in_string:
                    node = cursor.node
                    kinds.append(kind)
                    starts.append(node.start_byte)
                    ends.append(node.end_byte)
                    last += 1
            shape = hash(tuple(items)) if len(items) > 1 else items[0]
            subtrees.append(shape)
            if flags & _STATEMENT and last - first == 1 and flags_of[kinds[first]] & _TOKEN:
                del subtrees[mark:]
                inner = []
            elif flags & _NAMED or whole:
                inner = [shape + (field << 16)]
            else:
                inner = items[1:]
            if flags & _TOKEN:
                children, special = [], False
            below = Node(kind, field, first, last, children, special)
            kind, field, flags, first, mark, detail, special, children, items = stack.pop()
            items += inner
            if below.special:
                special = True
            if detail > 0 or below.special:
                children.append(below)
