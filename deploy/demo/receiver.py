"""Takes the notifications of Alertmanager, and prints a line for each alert that begins or ends.

    receiver.py PORT FILE [ADDRESS]

FILE has the last fault, or `heal`, and when it was made, in seconds since 1970. It listens on loopback unless told.
"""

import http.server
import json
import sys
import time

PORT, FAULT, ADDRESS = int(sys.argv[1]), sys.argv[2], (sys.argv[3:] or ["127.0.0.1"])[0]
told = {}


def since():
    """How long after which fault it is now."""
    try:
        with open(FAULT, encoding="utf-8") as fault:
            name, at = fault.read().split()
        return f"{time.time() - float(at):4.0f} s after {name}"
    except (OSError, ValueError):
        return ""


def tell(alert):
    labels = alert["labels"]
    subject = " ".join(labels[name] for name in ("deployment", "shard", "node", "endpoint") if labels.get(name))
    key = (labels["alertname"], labels.get("severity"), subject)
    status = alert["status"]
    # Alertmanager repeats the whole group whenever one of its alerts changes.
    if told.get(key, "resolved") == status:
        return
    told[key] = status
    word = "ALERT" if status == "firing" else "over "
    if labels["alertname"] == "Watchdog":
        if status == "firing":
            print(f"{time.strftime('%H:%M:%S')} alerts arrive: the Watchdog did", flush=True)
        return
    summary = alert["annotations"].get("summary", "") if status == "firing" else ""
    print(f"{time.strftime('%H:%M:%S')} {word} {labels.get('severity')} {labels['alertname']} [{subject}] {since()}", flush=True)
    if summary:
        print(f"               {summary}", flush=True)


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        for alert in json.loads(body)["alerts"]:
            tell(alert)

    def log_message(self, *_):
        pass


http.server.HTTPServer((ADDRESS, PORT), Receiver).serve_forever()
