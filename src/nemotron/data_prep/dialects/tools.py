"""Read the descriptions of tools.

They are kept as given, except for what would hide a part of them from the chat template.
"""

from typing import Any, NoReturn

from nemotron.data_prep.chat.conversation import Tool
from nemotron.data_prep.dialects import names
from nemotron.data_prep.dialects.findings import Findings
from nemotron.data_prep.dialects.json_text import decode_json, describe_kind, is_filled, quote, shorten
from nemotron.data_prep.dialects.tool_calls import remove_nulls
from nemotron.data_prep.drop_reasons import DropReason, RowError

_MAY_BE_NULL = ("default", "const", "example")
"""Keys of a schema for which null is meaningful, unless a table filled it in."""


_OTHER_SCHEMAS = frozenset(names.SCHEMAS[1:])


def read_tools(row: dict[str, Any], tools_field: str) -> list[Tool] | None:
    """Read the tools of a row; None means no tools.

    Raises:
        RowError: The tools are not a list of named functions, or there are two different lists.
    """
    tools = _read(row.get(tools_field), tools_field)
    for name in names.TOOLS:
        if name in row and name != tools_field and is_filled(row[name]):
            tools = _check_same(tools, _read(row[name], name), tools_field, name)
    return tools


def merge_tools(tools: list[Tool] | None, found: Findings, tools_field: str) -> list[Tool] | None:
    """Merge the row's tools with those in a system message.

    Raises:
        RowError: The two differ.
    """
    for where, raw in found.tools:
        inner = _read(raw, where)
        tools = _check_same(tools, None if inner is None else remove_fill(inner), tools_field, where)
    return tools


def _check_same(one: list[Tool] | None, other: list[Tool] | None, name: str, other_name: str) -> list[Tool] | None:
    if one is None or other is None:
        return other if one is None else one
    if [tool.get("function", tool) for tool in one] != [tool.get("function", tool) for tool in other]:
        raise RowError(DropReason.BAD_TOOLS, f'"{name}" and "{other_name}" are different tools')
    return one


def _read(raw: object, field: str) -> list[Tool] | None:
    def refuse(problem: str) -> NoReturn:
        raise RowError(DropReason.BAD_TOOLS, f'"{field}" {problem}')

    if isinstance(raw, str):
        raw = decode_json(raw, refuse) if raw.strip() else None
    if raw is None or raw == []:
        return None
    if not isinstance(raw, list):
        refuse(f"is {describe_kind(raw)}, not a list: {shorten(raw)}")
    return [_read_tool(tool, position, refuse) for position, tool in enumerate(raw)]


def _read_tool(tool: Any, position: int, refuse: Any) -> Tool:
    """Return one tool as given, with its schema as an object under `parameters`."""
    if isinstance(tool, str):
        tool = decode_json(tool, lambda problem: refuse(f"[{position}] is text, and its parts {problem}"))
    function = tool if not isinstance(tool, dict) or tool.get("function") is None else tool["function"]
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str) or not is_filled(name):
        shown = f"; it has {quote(tool)}" if isinstance(tool, dict) else f": {shorten(tool)}"
        refuse(f"[{position}] names no function{shown}")
    if function is tool and "function" in tool:  # null, in a table with both bare and wrapped tools
        tool = function = {key: value for key, value in tool.items() if key != "function"}
    schema = function.get("parameters")
    if not isinstance(schema, str) and _OTHER_SCHEMAS.isdisjoint(function):
        return tool
    function = _place_schema(function, lambda problem: refuse(f"[{position}] ({name}): its parameters {problem}"))
    return {**tool, "function": function} if "function" in tool else function


def _place_schema(function: Tool, refuse: Any) -> Tool:
    given: dict[str, Any] = {}
    for name in names.SCHEMAS:
        schema = function.get(name)
        if isinstance(schema, str):
            schema = decode_json(schema, refuse) if schema.strip() else None
        if is_filled(schema):
            given[name] = schema
    schemas = list(given.values())
    if any(schema != schemas[0] for schema in schemas):
        refuse(f"differ under {quote(given)}")
    if schemas and not isinstance(schemas[0], dict):
        refuse(f"are {describe_kind(schemas[0])}, not an object: {shorten(schemas[0])}")
    placed: Tool = {}
    for key, value in function.items():
        if key not in names.SCHEMAS:
            placed[key] = value
        elif schemas and "parameters" not in placed:
            placed["parameters"] = schemas[0]
    return placed


def remove_fill(tools: list[Tool]) -> list[Tool]:
    """Remove the nulls that a table filled in.

    Without any, the same list is returned.
    """
    cleaned = [_remove_fill(tool) for tool in tools]
    return tools if all(new is old for new, old in zip(cleaned, tools, strict=True)) else cleaned


def _remove_fill(tool: Tool) -> Tool:
    function = tool.get("function", tool)
    schema = function.get("parameters") if isinstance(function, dict) else None
    is_kept = not _is_filled_in(schema)
    new = {
        key: (value if is_kept else remove_nulls(value)) if key == "parameters" else remove_nulls(value)
        for key, value in function.items()
        if value is not None
    }
    new_tool = new if function is tool else {**{k: v for k, v in tool.items() if v is not None}, "function": new}
    return tool if new_tool == tool else new_tool


def _is_filled_in(schema: Any) -> bool:
    """Tell whether a schema has null where no schema may have it.

    Then a table filled it in, and its other nulls too.
    """
    if isinstance(schema, list):
        return any(map(_is_filled_in, schema))
    if not isinstance(schema, dict):
        return False
    return any((inner is None and key not in _MAY_BE_NULL) or _is_filled_in(inner) for key, inner in schema.items())
