"""What of a tree is a leaf, with a place of its own."""

from nemotron.config.located import attach_origin, leaves, plain


def test_a_list_with_a_section_in_it_is_taken_apart_and_other_lists_are_values():
    tree = {"stages": [{"average": "token"}, 5], "names": ["a", "b"], "none": [], "empty": {}, "dim": 8}
    found = {key: plain(leaf) for key, leaf in leaves(attach_origin(tree, "here")).items()}
    assert found == {
        "stages.0.average": "token", "stages.1": 5, "names": ["a", "b"], "none": [], "empty": {}, "dim": 8,
    }  # fmt: skip
