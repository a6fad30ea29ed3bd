"""The YAML reader agrees with PyYAML, or raises UndecidableError."""

from __future__ import annotations

import yaml
from hypothesis import given
from hypothesis import strategies as st

from somatrace.check.project import yaml_reader

LINES = st.lists(st.sampled_from(["a", "b c", "  d", " e", "", "$x && y", "# f", "- g", "k: v"]), min_size=1)


@given(LINES, st.sampled_from(["|", ">"]), st.sampled_from(["", "-"]))
def test_block_scalars(lines, kind, chomp):
    text = f"key: {kind}{chomp}\n" + "".join(f"  {line}\n" if line else "\n" for line in lines) + "other: 1\n"
    try:
        expected = yaml.safe_load(text)
    except yaml.YAMLError:
        return  # a first line deeper than the next: neither reads it

    try:
        found = yaml_reader.load(text)[0]
    except yaml_reader.UndecidableError:
        return

    assert found["key"] == expected["key"]
    assert found["other"] == "1"


VALUES = st.recursive(
    st.sampled_from(["plain", "two words", "a: b", "# no", "'", '"', "-", "{x}", "$HOME/bin", "", "1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b-c", "d.e"]), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["services", "command", "x"]), VALUES, min_size=1), st.booleans())
def test_documents_that_pyyaml_writes(document, flow):
    text = yaml.safe_dump(document, default_flow_style=flow)

    try:
        [found] = yaml_reader.load(text)
    except yaml_reader.UndecidableError:
        return

    assert found == document


def test_a_quoted_scalar_in_a_flow_collection_goes_over_lines():
    text = "{a: 'one:\n     two', b: \"three\n\n  four\", c: 'five\n  # six'}"

    assert yaml_reader.load(text) == [yaml.safe_load(text)]
