"""The JDK's HttpClient, by Jdk.java beside this file."""

import json
import subprocess
from pathlib import Path

from checks import KEY, MODEL, TEXTS, UNKNOWN, URL, VECTORS, WRONG_KEY, Client, same

SOURCE = Path(__file__).with_name("Jdk.java")


def send(body: dict[str, object], key: str = KEY) -> list[tuple[str, int, str]]:
    """The name, status and text of every way in which the body is sent."""
    command = ["java", str(SOURCE), URL, key, json.dumps(body)]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(done.stderr)
    lines = [line.split("\t", 2) for line in done.stdout.splitlines()]
    return [(name, int(status), text) for name, status, text in lines]


shown = subprocess.run(["java", "--version"], capture_output=True, check=True, text=True)
client = Client("the JDK's HttpClient", shown.stdout.split()[1])
for name, status, text in send({"model": MODEL, "input": TEXTS, "encoding_format": "float"}):
    with client.check(name):
        assert status == 200, f"{status} {text}"
        same([item["embedding"] for item in json.loads(text)["data"]], VECTORS)
for name, status, text in send({"model": UNKNOWN, "input": "a"}):
    with client.check(f"wrong model, {name}"):
        assert status == 404, f"{status} {text}"
        assert UNKNOWN in text, text
for name, status, text in send({"model": MODEL, "input": "a"}, WRONG_KEY):
    with client.check(f"wrong key, {name}"):
        assert status == 401, f"{status} {text}"
client.report()
