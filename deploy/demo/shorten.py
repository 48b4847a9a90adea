"""Shorter waits for the demo: divides the durations of the shipped rules and of the shipped Alertmanager configuration by one factor.

    shorten.py FACTOR rules FILE              `for`, `keep_firing_for`, ranges and offsets
    shorten.py FACTOR alertmanager FILE URL   `group_wait`, `group_interval`, `repeat_interval`; every receiver that tells somebody is URL

Prints the result. Nothing becomes shorter than a second. What Rolecall, Redis and Sentinel wait for stays as it is. So the half minute by
which RedisSplitBrain tells a split brain from the ten seconds that every failover has stays, too.
"""

import re
import sys

MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
KEPT = "redis_deployment_split_brain["
DURATION = r"(?:\d+(?:ms|[smhdw]))+"


def shorter(duration, factor):
    whole = sum(int(number) * MILLISECONDS[unit] for number, unit in re.findall(r"(\d+)(ms|[smhdw])", duration))
    less = max(whole // factor, 1000)
    return f"{less}ms" if less % 1000 else f"{less // 1000}s"


def rules(text, factor):
    def shorten(found):
        return re.sub(DURATION, lambda duration: shorter(duration[0], factor), found[0])

    shortened = []
    for line in text.splitlines(keepends=True):
        if KEPT not in line:
            line = re.sub(rf"^ +(?:for|keep_firing_for): {DURATION}$", shorten, line)
            line = re.sub(rf"\[{DURATION}(?::(?:{DURATION})?)?\]|\boffset {DURATION}", shorten, line)
        shortened.append(line)
    return "".join(shortened)


def alertmanager(text, factor, url):
    text = re.sub(rf"((?:group_wait|group_interval|repeat_interval): )({DURATION})", lambda found: found[1] + shorter(found[2], factor), text)
    # What is above the receivers stays; each of them that has an integration gets another.
    above, receivers = re.split(r"^receivers:$", text, maxsplit=1, flags=re.MULTILINE)
    above = re.sub(r"^templates:\n(?: +- .*\n)+", "", above, flags=re.MULTILINE)
    told = ["receivers:"]
    for receiver in re.split(r"^  - name: ", receivers, flags=re.MULTILINE)[1:]:
        name = receiver.split("\n", 1)[0]
        told.append(f"  - name: {name}")
        if re.search(r"^    \w+_configs:$", receiver, flags=re.MULTILINE):
            told.append(f"    webhook_configs: [ {{ url: '{url}/{name}', send_resolved: true }} ]")
    return above + "\n".join(told) + "\n"


def main():
    factor, kind, file, *rest = sys.argv[1:]
    with open(file, encoding="utf-8") as source:
        text = source.read()
    sys.stdout.write({"rules": rules, "alertmanager": alertmanager}[kind](text, int(factor), *rest))


main()
