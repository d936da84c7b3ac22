"""Attributes replaced for a while, and given back."""

from types import SimpleNamespace

import pytest

from nemotron.training.torch_layers.replace_attributes import replace_attributes


def test_attributes_are_replaced_inside():
    module = SimpleNamespace(a=1, b=2)
    with replace_attributes(module, a=3), replace_attributes(module, a=4, b=5):
        assert (module.a, module.b) == (4, 5)
    assert (module.a, module.b) == (1, 2)


def test_attributes_come_back_also_after_a_failure():
    module = SimpleNamespace(a=1, b=2)
    with pytest.raises(ZeroDivisionError), replace_attributes(module, a=3), replace_attributes(module, a=4, b=5):
        module.a //= 0
    assert (module.a, module.b) == (1, 2)


def test_an_attribute_that_is_not_there_is_refused_before_any_is_replaced():
    module = SimpleNamespace(a=1)
    with pytest.raises(AttributeError), replace_attributes(module, a=2, c=3):
        pass
    assert vars(module) == {"a": 1}
