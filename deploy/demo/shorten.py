"""Divides the durations of the shipped rules and of the Alertmanager configuration, for the demo.

    shorten.py FACTOR rules FILE              divides `for`, `keep_firing_for`, ranges and offsets
    shorten.py FACTOR alertmanager FILE URL   divides `group_wait`, `group_interval` and
                                              `repeat_interval`; sends all notifications to URL

Prints the result. No duration becomes shorter than a second. Rolecall, Redis and Sentinel are not
affected. The 30 s of RedisSplitBrain stay as well: they distinguish a split brain from the ten
seconds of a normal failover.
"""

import re
import sys

MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
KEPT = "redis_deployment_split_brain["
DURATION = r"(?:\d+(?:ms|[smhdw]))+"


def shorter(duration, factor):
    parts = re.findall(r"(\d+)(ms|[smhdw])", duration)
    whole = sum(int(number) * MILLISECONDS[unit] for number, unit in parts)
    less = max(whole // factor, 1000)
    return f"{less}ms" if less % 1000 else f"{less // 1000}s"


def rules(text, factor):
    def shorten(found):
        return re.sub(DURATION, lambda duration: shorter(duration[0], factor), found[0])

    shortened = []
    for line in text.splitlines(keepends=True):
        if KEPT not in line:
            line = re.sub(rf"^ +(?:for|keep_firing_for): {DURATION}$", shorten, line)
            ranges = rf"\[{DURATION}(?::(?:{DURATION})?)?\]|\boffset {DURATION}"
            line = re.sub(ranges, shorten, line)
        shortened.append(line)
    return "".join(shortened)


def alertmanager(text, factor, url):
    keys = rf"((?:group_wait|group_interval|repeat_interval): )({DURATION})"
    text = re.sub(keys, lambda found: found[1] + shorter(found[2], factor), text)
    # Keeps everything above the receivers. Replaces the integration of each receiver that has one.
    above, receivers = re.split(r"^receivers:$", text, maxsplit=1, flags=re.MULTILINE)
    above = re.sub(r"^templates:\n(?: +- .*\n)+", "", above, flags=re.MULTILINE)
    lines = ["receivers:"]
    for receiver in re.split(r"^  - name: ", receivers, flags=re.MULTILINE)[1:]:
        name = receiver.split("\n", 1)[0]
        lines.append(f"  - name: {name}")
        if re.search(r"^    \w+_configs:$", receiver, flags=re.MULTILINE):
            lines.append(f"    webhook_configs: [ {{ url: '{url}/{name}', send_resolved: true }} ]")
    return above + "\n".join(lines) + "\n"


def main():
    factor, kind, file, *rest = sys.argv[1:]
    with open(file, encoding="utf-8") as source:
        text = source.read()
    sys.stdout.write({"rules": rules, "alertmanager": alertmanager}[kind](text, int(factor), *rest))


main()
