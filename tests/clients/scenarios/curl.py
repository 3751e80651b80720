"""curl, with the options that change how a request is sent."""

import gzip
import json
import subprocess

from checks import KEY, MODEL, TEXTS, UNKNOWN, URL, VECTORS, WRONG_KEY, Client, same

BODY = json.dumps({"model": MODEL, "input": TEXTS, "encoding_format": "float"})


def run(*options: str, data: str | bytes = BODY, key: str = KEY) -> str:
    command = [
        "curl", "--silent", "--show-error", "--max-time", "30", f"{URL}/v1/embeddings",
        "--header", f"Authorization: Bearer {key}", "--header", "Content-Type: application/json",
        "--data-binary", "@-", *options,
    ]  # fmt: skip
    content = data.encode() if isinstance(data, str) else data
    done = subprocess.run(command, input=content, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.decode())
    return done.stdout.decode()


def check_answer(answer: str) -> None:
    same([item["embedding"] for item in json.loads(answer)["data"]], VECTORS)


WAYS = {
    "HTTP/1.1": [],
    "--http2 (offers an upgrade)": ["--http2"],
    "--http1.0": ["--http1.0"],
    "chunked": ["--header", "Transfer-Encoding: chunked"],
    "Expect: 100-continue": ["--header", "Expect: 100-continue"],
    "--compressed": ["--compressed"],
    "two requests on one connection, --http2": [
        "--http2", "--output", "/dev/null", "--next", "--silent", "--http2",
        "--header", f"Authorization: Bearer {KEY}", "--data-binary", BODY, f"{URL}/v1/embeddings",
    ],
}  # fmt: skip

first_line = subprocess.run(["curl", "--version"], capture_output=True, check=True, text=True)
client = Client("curl", first_line.stdout.split()[1])
for name, options in WAYS.items():
    with client.check(name):
        check_answer(run(*options))
with client.check("--http2-prior-knowledge is answered in words"):
    try:
        run("--http2-prior-knowledge")
    except RuntimeError as error:
        assert "HTTP" in str(error), str(error)
with client.check("Content-Encoding: gzip"):
    packed = gzip.compress(BODY.encode())
    check_answer(run("--header", "Content-Encoding: gzip", data=packed))
wrong = json.dumps({"model": UNKNOWN, "input": "a"})
with client.check("wrong model"):
    assert UNKNOWN in run(data=wrong), run(data=wrong)
with client.check("wrong key"):
    assert "key" in run(key=WRONG_KEY), run(key=WRONG_KEY)
client.report()
