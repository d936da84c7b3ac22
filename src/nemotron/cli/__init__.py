"""The command line: parse, call, print. The modules mirror the command tree."""
