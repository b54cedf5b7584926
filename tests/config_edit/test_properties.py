"""Whatever is edited in whatever file: what is written back reads as what was running; what is taken back is gone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gsmtp.app import wiring
from gsmtp.config import edit, show
from gsmtp.config.changes import differences
from gsmtp.config.diagnostics import Problems
from gsmtp.config.option import OPTIONS
from gsmtp.config.reread import reread
from gsmtp.config.scope_path import Path as ScopePath
from gsmtp.config.scope_path import Step, parse, path_of, words_of
from gsmtp.config.source import read, read_text
from gsmtp.config.tree import Array, Dictionary, Scalar, Scope, Tree, Value
from gsmtp.config.words import split, value_of
from gsmtp.config.writeback import outdated, plan, written

wiring.load()

ROOT = Path(__file__).parent.parent.parent
FILES = sorted(
    path
    for folder in (ROOT / "tests" / "golden" / "config" / "examples", ROOT / "conf")
    for path in folder.rglob("*.*")
    if path.suffix in (".conf", ".yaml") and path.name[0] != "."
)
IDS = [str(path.relative_to(ROOT)) for path in FILES]

# What decides where a change goes is not changed at random.
_FIXED = ("local_changes_file", "local_changes_only")

# A failure is told as it was found: making it smaller takes minutes.
_QUICK = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=[Phase.explicit, Phase.reuse, Phase.generate]
)

_TEXTS = st.one_of(
    st.sampled_from(["5", "true", "", "a b", "/x/y", 'say "hi"', "back\\slash", "two\nlines", "#", "a,b", "10.0.0.0/8",
                     "include", "**", "yes", "0640", "é", "a: b", "- a", "x}"]),
    st.text(alphabet="abcXYZ019._-:/ ", max_size=12),
)  # fmt: skip
_SCALARS = st.builds(Scalar, _TEXTS, st.just(True))
_ARRAYS = st.builds(Array, st.lists(_SCALARS, max_size=6).map(tuple))
_DICTIONARIES = st.builds(
    Dictionary,
    st.lists(st.tuples(_SCALARS, _SCALARS), max_size=4, unique_by=lambda pair: pair[0].text).map(tuple),
)


def _loaded(path: Path) -> Tree:
    problems = Problems()
    tree = read(str(path), problems)
    assert not problems.has_errors
    return tree


def _value(data: st.DataObject, kind: str, name: str) -> Value:
    option = OPTIONS.find(kind, name)
    if option is not None and option.kind.name == "dictionary":
        return data.draw(_DICTIONARIES)
    return data.draw(st.one_of(_SCALARS, _ARRAYS))


def _new_scope(kind: str, name: str) -> Step | None:
    word = {"global": "threadpool", "esmtp_listener": "listen", "listen": "peer", "pathway_group": "pathway"}.get(kind)
    names = {"threadpool": f"new{name}", "listen": f":{3000 + int(name)}", "peer": f"10.{name}.0.0/16"}
    return None if word is None else Step(word, names.get(word, f"p{name}"))


def _edited(tree: Tree, data: st.DataObject) -> Tree:
    """One edit at random."""
    scope: Scope = data.draw(st.sampled_from(list(tree.root.walk())))
    path = path_of(scope)
    what = data.draw(st.sampled_from(["set", "set new", "unset", "unset scope", "add"]))
    if what == "unset scope" and path:
        return edit.unset_scope(tree, path)
    known = [key for key in scope.settings if key not in _FIXED]
    if what == "unset" and known:
        return edit.unset_option(tree, path, data.draw(st.sampled_from(known)))
    if what == "set" and known:
        key = data.draw(st.sampled_from(known))
        return edit.set_option(tree, path, key, _value(data, scope.kind, key))
    names = [option.name for option in OPTIONS.in_scope(scope.kind) if option.key not in _FIXED]
    if what == "set new" and names:
        name = data.draw(st.sampled_from(names))
        return edit.set_option(tree, path, name, _value(data, scope.kind, name))
    step = _new_scope(scope.kind, data.draw(st.sampled_from("12")))
    if step is None:
        return tree
    inner: ScopePath = (*path, step)
    if data.draw(st.booleans()):
        return edit.make_scope(tree, inner)
    name = data.draw(st.sampled_from([option.name for option in OPTIONS.in_scope(step.kind)]))
    return edit.set_option(tree, inner, name, _value(data, step.kind, name))


@pytest.mark.parametrize("path", FILES, ids=IDS)
@settings(_QUICK, max_examples=15)
@given(data=st.data())
def test_what_is_written_reads_back_as_what_was_running(path: Path, data: st.DataObject) -> None:
    """Several edits, written back in several steps, files that can't be written among them."""
    loaded = tree = _loaded(path)
    fixed = data.draw(st.sets(st.sampled_from(sorted(loaded.files)), max_size=1))
    for _ in range(data.draw(st.integers(1, 3))):
        for _ in range(data.draw(st.integers(1, 4))):
            tree = _edited(tree, data)
        made = plan(tree, lambda name: name not in fixed)
        texts, _ = outdated(tree, made)
        assert not set(texts) & fixed
        written(edit.copy_of(tree), texts)
        left = {(one.change.place, one.change.key) for one in made.leftovers}
        now = reread(loaded, edit.ledger_of(tree).on_disk, Problems())
        found = differences(now.root, tree.root)
        assert made.virtual or {(change.place, change.key) for change in found} == left
        if not fixed and not any(file.readonly for file in loaded.files.values()):
            assert not left


@pytest.mark.parametrize("path", FILES, ids=IDS)
@settings(_QUICK, max_examples=6)
@given(data=st.data())
def test_what_is_taken_back_leaves_every_byte_as_it_was(path: Path, data: st.DataObject) -> None:
    tree = loaded = _loaded(path)
    for _ in range(data.draw(st.integers(1, 4))):
        tree = _edited(tree, data)
    texts, _ = outdated(tree, plan(tree, lambda name: True))
    written(edit.copy_of(tree), texts)
    back = edit.copy_of(tree)
    back.root = edit.copy_of(loaded).root
    again, before = outdated(back, plan(back, lambda name: True))
    assert again == {name: loaded.files[name].text for name in texts if name in loaded.files} | {
        name: "" for name in texts if name not in loaded.files
    }
    assert before == texts


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_a_setting_that_comes_and_goes_leaves_every_byte_also_across_a_reload(path: Path) -> None:
    """In each scope: set, write, load, unset, write; so the second write-back knows nothing of the first."""
    loaded = _loaded(path)
    for scope in loaded.root.walk():
        name = next((o.name for o in OPTIONS.in_scope(scope.kind) if o.key not in (*scope.settings, *_FIXED)), None)
        fixed = {file.path for file in loaded.files.values() if file.readonly}
        if name is None or scope.span.file in fixed or (not scope.settings and not scope.children):
            continue  # an empty stanza has several spellings
        tree = edit.set_option(loaded, path_of(scope), name, Scalar("5", False))
        texts, _ = outdated(tree, plan(tree, lambda name: True))
        assert len(texts) == 1
        second = reread(loaded, texts, Problems())
        second.files = {
            name: (file if name not in texts else type(file)(name, texts[name], file.readonly, file.chain))
            for name, file in second.files.items()
        }
        back = edit.unset_option(second, path_of(scope), name)
        again, _ = outdated(back, plan(back, lambda name: True))
        assert again == {name: loaded.files[name].text for name in texts}


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_every_scope_is_shown_and_reads_back(path: Path) -> None:
    """`showrecurse` of the whole tree is the same configuration; no stanza, served or not, stops it."""
    tree = _loaded(path)
    text = "\n".join(show.tree_lines(tree.root))
    problems = Problems()
    again = read_text(text, "shown.conf", problems, follow_includes=False)
    assert not problems.has_errors
    assert not differences(tree.root, again.root)
    for scope in tree.root.walk():
        assert isinstance(show.scope_lines(scope), list)
        found, rest = parse(words_of(path_of(scope)), tree.root)
        assert ([step.key for step in found], rest) == ([step.key for step in path_of(scope)], ())
        for setting in scope.settings.values():
            lines = show.option_lines(setting.spelled, setting.value)
            words = split(" ".join(lines))
            typed = value_of(setting.spelled, words[2:])
            changed = edit.set_option(tree, path_of(scope), setting.key, typed)
            assert not differences(tree.root, changed.root)
