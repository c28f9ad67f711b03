"""A syntax tree read once: hashes of its subtrees, its tokens, and a skeleton of its nodes."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from weightcut.metrics.code.languages import ERROR_KIND, Grammar

if TYPE_CHECKING:
    import tree_sitter

ROOT_KIND = -1
_ODD = 1 << 40  # beyond every symbol and field
_UNNAMED = -2
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
    fields: of each combination of a node's kind and its children's, the children's fields.
    """

    flags: dict[int, int]
    whole: bool
    fields: dict[tuple[int, ...], Sequence[int]] = field(default_factory=dict)


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


def read(root: tree_sitter.Node, reader: Reader, *, fragment: bool = False) -> Tree:
    """Read a tree; fragment: its root is a body in braces put around the text.

    A string is one token, whatever is in it; literal tokens whose text is their name are no tokens
    here. A subtree's hash is made of its kind and of the hashes and fields of its children; it is
    the same in every process, for it is made of numbers alone.
    """
    if not root.has_error and root.child_count:
        try:
            return _Recursive(reader).tree(root, fragment)
        except RecursionError:
            pass
    return _read_any(root, reader, fragment)


class _Recursive:
    """Reads a tree without errors, by recursion: the fast way, and the usual case."""

    def __init__(self, reader: Reader) -> None:
        self.flags = reader.flags
        self.whole = reader.whole
        self.fields = reader.fields
        self.subtrees: list[int] = []
        self.kinds: list[int] = []
        self.starts: list[int] = []
        self.ends: list[int] = []

    def tree(self, root: tree_sitter.Node, fragment: bool) -> Tree:
        """Read the tree from its root."""
        kind, children = root.kind_id, root.children
        if self.whole:
            kind, children = ROOT_KIND, children[1:-1] if fragment else children
        node = self.node(root, kind, 0, self.flags[root.kind_id], children, 1)[1]
        return Tree(node, self.subtrees, self.kinds, self.starts, self.ends)

    def token(self, node: tree_sitter.Node, kind: int) -> None:
        self.kinds.append(kind)
        self.starts.append(node.start_byte)
        self.ends.append(node.end_byte)

    def node(
        self,
        node: tree_sitter.Node,
        kind: int,
        label: int,
        flags: int,
        children: list[tree_sitter.Node],
        detail: int,
    ) -> tuple[int, Node]:
        """Read what is under a node, and return its shape (0: it has none) and skeleton."""
        flags_of, kinds, whole = self.flags, self.kinds, self.whole
        first, mark = len(kinds), len(self.subtrees)
        below = [child.kind_id for child in children]
        signature = (kind, *below)
        fields = self.fields.get(signature)
        if fields is None:
            fields = self.fields[signature] = _fields(node, len(children))
        special = flags & _SPECIAL != 0
        inside = 2 if special else detail - 1
        items = [kind]
        kept: list[Node] = []
        for child, here, place in zip(children, below, fields, strict=True):
            what = flags_of[here]
            before = len(kinds)
            if not what:
                if whole:
                    items.append(here)
            elif what & _NAMED and (grandchildren := child.children):
                shape, skeleton = self.node(child, here, place, what, grandchildren, inside)
                if what & _TOKEN:
                    del kinds[before:], self.starts[before:], self.ends[before:]
                    self.token(child, here)
                    skeleton = Node(here, place, before, before + 1, [], False)
                if shape:
                    items.append(shape + (place << 16))
                if skeleton.special:
                    special = True
                    kept.append(skeleton)
                elif inside > 0:
                    kept.append(skeleton)
                continue
            elif what & _COMMENT:
                if not whole:
                    items.append(here + (place << 16))
            else:
                kinds.append(here)
                self.starts.append(child.start_byte)
                self.ends.append(child.end_byte)
                if what & _NAMED or whole:
                    items.append(here + (place << 16))
            if inside > 0:
                kept.append(Node(here, place, before, len(kinds), [], False))
        shape = hash(tuple(items)) if len(items) > 1 else kind
        last = len(kinds)
        if flags & _STATEMENT and last - first == 1 and flags_of[kinds[first]] & _TOKEN:
            del self.subtrees[mark:]
            shape = 0
        else:
            self.subtrees.append(shape)
        return shape, Node(kind, label, first, last, kept, special)


def _fields(node: tree_sitter.Node, count: int) -> Sequence[int]:
    """Return the field of each of the node's children, 0 for none and for literal tokens."""
    cursor = node.walk()
    cursor.goto_first_child()
    fields = []
    while True:
        named = cursor.node is not None and cursor.node.is_named
        fields.append((cursor.field_id or 0) if named else 0)
        if not cursor.goto_next_sibling():
            break
    return fields if len(fields) == count else fields[1:-1]


def _read_any(root: tree_sitter.Node, reader: Reader, fragment: bool) -> Tree:
    """Read any tree, without recursion: no depth of nesting is too much."""
    flags_of, whole = reader.flags, reader.whole
    broken = root.has_error
    subtrees: list[int] = []
    kinds: list[int] = []
    starts: list[int] = []
    ends: list[int] = []
    cursor = root.walk()
    down, across, up = cursor.goto_first_child, cursor.goto_next_sibling, cursor.goto_parent
    # The node whose children are being read; those around it wait on the stack.
    kind, field, flags, first, mark = ROOT_KIND, 0, _NAMED, 0, 0
    detail, in_string, special = 1, 0, False
    children: list[Node] = []
    items: list[int] = [ROOT_KIND]
    stack: list[tuple[int, int, int, int, int, int, bool, list[Node], list[int]]] = []
    while True:
        node = cursor.node
        here = node.kind_id  # type: ignore[union-attr]
        what = flags_of[here]
        label = (cursor.field_id or 0) if what & _NAMED else 0
        if down():
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
            odd = broken and (node.is_missing or here == ERROR_KIND)
            if not in_string and (what or odd):
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
                subtrees[-1] = hash((_UNNAMED, *items))
                inner = items[1:]
            below = Node(kind, field, first, last, children, special)
            kind, field, flags, first, mark, detail, special, children, items = stack.pop()
            items += inner
            if below.special:
                special = True
            if detail > 0 or below.special:
                children.append(below)
