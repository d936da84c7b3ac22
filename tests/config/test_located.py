"""What of a tree is a leaf, with a place of its own."""

from nemotron.config.located import Located, attach_origin, leaves, merge, plain


def test_a_list_with_a_section_in_it_is_taken_apart_and_other_lists_are_values():
    tree = {"stages": [{"average": "token"}, 5], "names": ["a", "b"], "none": [], "empty": {}, "dim": 8}
    found = {key: plain(leaf) for key, leaf in leaves(attach_origin(tree, "here")).items()}
    assert found == {
        "stages.0.average": "token", "stages.1": 5, "names": ["a", "b"], "none": [], "empty": {}, "dim": 8,
    }  # fmt: skip


def test_sections_are_merged_by_key_and_anything_else_replaces_what_was_there():
    base = attach_origin({"a": {"b": 1, "c": 2}, "list": [1, 2], "gone": {"x": 1}, "made": 5}, "base.yaml")
    over = attach_origin({"a": {"c": 3, "d": 4}, "list": [3], "gone": None, "made": {"y": 1}}, "mine.yaml")
    merged = merge(base, over)
    assert plain(merged) == {"a": {"b": 1, "c": 3, "d": 4}, "list": [3], "gone": None, "made": {"y": 1}}
    origins = {key: node.origin for key, node in leaves(merged).items()}
    assert origins.pop("a.b") == "base.yaml"
    assert set(origins.values()) == {merged.origin} == {"mine.yaml"}
    assert plain(base)["a"] == {"b": 1, "c": 2}  # the layer below is as it was


def test_values_of_python_become_a_tree():
    tree = attach_origin({1: ("a", {"b": None})}, "default")
    assert plain(tree) == {"1": ["a", {"b": None}]}
    assert tree.value["1"] == Located([Located("a", "default"), attach_origin({"b": None}, "default")], "default")
