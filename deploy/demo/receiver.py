"""Webhook receiver for Alertmanager. Prints a line for each alert that fires or is resolved.

    receiver.py PORT FILE [ADDRESS]

FILE has the last fault, or `heal`, and its Unix time in seconds. ADDRESS is loopback by default.
"""

import http.server
import json
import sys
import time

PORT, FAULT, ADDRESS = int(sys.argv[1]), sys.argv[2], (sys.argv[3:] or ["127.0.0.1"])[0]
# Last status of each alert.
statuses = {}


def since():
    """Returns the seconds since the last fault, as text."""
    try:
        with open(FAULT, encoding="utf-8") as fault:
            name, at = fault.read().split()
        return f"{time.time() - float(at):4.0f} s after {name}"
    except (OSError, ValueError):
        return ""


def show(alert):
    """Prints an alert if its status changed."""
    labels = alert["labels"]
    subject = ("deployment", "shard", "node", "endpoint")
    subject = " ".join(labels[name] for name in subject if labels.get(name))
    key = (labels["alertname"], labels.get("severity"), subject)
    status = alert["status"]
    # Alertmanager repeats the whole group whenever one of its alerts changes.
    if statuses.get(key, "resolved") == status:
        return
    statuses[key] = status
    now = time.strftime("%H:%M:%S")
    word = "ALERT   " if status == "firing" else "RESOLVED"
    if labels["alertname"] == "Watchdog":
        if status == "firing":
            print(f"{now} notifications work: the alert Watchdog arrived", flush=True)
        return
    summary = alert["annotations"].get("summary", "") if status == "firing" else ""
    name = f"{labels.get('severity')} {labels['alertname']} [{subject}]"
    print(f"{now} {word} {name} {since()}", flush=True)
    if summary:
        print(f"               {summary}", flush=True)


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        for alert in json.loads(body)["alerts"]:
            show(alert)

    def log_message(self, *_):
        pass


http.server.HTTPServer((ADDRESS, PORT), Receiver).serve_forever()
