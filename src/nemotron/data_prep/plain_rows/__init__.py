"""Read, hash and render the rows that most chat data consists of, in one go.

A row is plain if its messages are nothing but roles and texts, in the order

    system?  (user  assistant)+        each {"role", "content"}
    system?  user   assistant          the answer with a "reasoning_content" too

without tools, think tags, calls written as text or control tokens, and if nothing but metadata is next to them. Nothing
about such a row needs a decision: it is one training sequence, no note is made of it, it is not refused, and the
bundled template writes the same around every message. So `PlainRows.read` does in a third of the time what admission,
the policy for control tokens, the choice of a reasoning mode, the content hash and the rendering do for other rows.

Those steps define the result. A property test compares both ways on any rows, and every run compares some of its plain
rows with what Jinja renders.
"""
