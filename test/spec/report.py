"""Counts what is compared, and prints one line for each group of comparisons, with what it left out."""


class Group:
    """One line of the report: everything that is compared between `with Group(...)` and its end."""

    passed = failed = compared = 0

    def __init__(self, name):
        self.name, self.count, self.problems, self.skipped = name, 0, [], {}

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if error is not None and isinstance(error, Exception):
            self.problems.append(f"stopped: {kind.__name__}: {error}")
        if self.count == 0 and not self.problems:
            self.problems.append("nothing was compared")
        Group.compared += self.count
        if self.problems:
            Group.failed += 1
        else:
            Group.passed += 1
        left_out = "".join(f"; left out {n} {what}" for what, n in self.skipped.items())
        print(f"{'FAIL' if self.problems else 'ok  '}  {self.name}: {self.count} compared{left_out}", flush=True)
        for p in self.problems[:12]:
            print(f"      {p}")
        if len(self.problems) > 12:
            print(f"      and {len(self.problems) - 12} more")
        return error is None or isinstance(error, Exception)

    def equal(self, what, ours, theirs):
        self.count += 1
        if ours != theirs:
            self.problems.append(f"{what}: computed {show(ours)}, but there stands {show(theirs)}")

    def skip(self, what):
        """Counts one that is not compared, so that the report says so."""
        self.skipped[what] = self.skipped.get(what, 0) + 1

    def true(self, what, condition):
        self.count += 1
        if not condition:
            self.problems.append(what)


def show(value):
    if isinstance(value, (tuple, list)):
        return ", ".join(show(v) for v in value)
    text = value.hex() if isinstance(value, (bytes, bytearray)) else repr(value)
    return text if len(text) <= 260 else text[:200] + f"... ({len(text)} characters)"
