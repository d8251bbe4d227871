#!/usr/bin/env python3
"""Lets Kodi judge the NFO files: what it shows of the made-up library before `runtime tag --nfo`, after it, and after
`--nfo-undo`.

    cargo run -p fixtures -- forms LIBRARY && runtime/tests/kodi.py LIBRARY target/release/runtime

Needs Kodi (Debian's kodi-bin, kodi-data), Xvfb and a software renderer; says that it was skipped where they are
missing. Kodi runs in a home of its own, listens on this machine only, and is ended.
"""

import glob
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import unicodedata
import urllib.request
from pathlib import Path

PORT = int(os.environ.get("PORT", 18080))
SCREEN = os.environ.get("SCREEN", ":77")
SETTINGS = f"""<settings version="2">
  <setting id="services.webserver">true</setting>
  <setting id="services.webserverport">{PORT}</setting>
  <setting id="services.webserverauthentication">false</setting>
  <setting id="services.esallinterfaces">false</setting>
</settings>
"""
# Library, content, and whether "Movies are in separate folders that match the movie title" is on.
SOURCES = [("Films", "movies", 1), ("Mixed", "movies", 0), ("Series", "tvshows", 0)]


def ask(method, **params):
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    url = f"http://127.0.0.1:{PORT}/jsonrpc"
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer).get("result")


def wait(what, is_so, seconds=300):
    for _ in range(seconds):
        try:
            if is_so():
                return
        except OSError:
            pass
        time.sleep(1)
    sys.exit(f"Kodi: {what} took more than {seconds} s")


def shown(binary, library):
    """Scans the library with a fresh Kodi, "Local information only", and returns all films and series it shows."""
    home = Path(tempfile.mkdtemp())
    userdata = home / ".kodi/userdata"
    userdata.mkdir(parents=True)
    (userdata / "guisettings.xml").write_text(SETTINGS)
    screen = subprocess.Popen(["Xvfb", SCREEN, "-screen", "0", "1280x720x24"], stderr=subprocess.DEVNULL)
    environment = {**os.environ, "HOME": str(home), "DISPLAY": SCREEN, "LIBGL_ALWAYS_SOFTWARE": "1"}
    time.sleep(2)
    with open(home / "log", "w") as log:
        kodi = subprocess.Popen([binary, "--standalone", "--windowing=x11"], env=environment, stdout=log, stderr=log)
    try:
        wait("the start", lambda: ask("JSONRPC.Ping") == "pong")
        with sqlite3.connect(next(userdata.glob("Database/MyVideos*.db"))) as database:
            for name, content, has_folders in SOURCES:
                database.execute(
                    "insert into path(strPath, strContent, strScraper, scanRecursive, useFolderNames, noUpdate,"
                    " exclude, allAudio) values(?, ?, 'metadata.local', 2147483647, ?, 0, 0, 0)",
                    (f"{library / name}/", content, has_folders),
                )
        ask("VideoLibrary.Scan", showdialogs=False)
        properties = ["title", "year", "genre", "plot", "art", "file"]

        def everything():
            films = ask("VideoLibrary.GetMovies", properties=properties).get("movies", [])
            return films + ask("VideoLibrary.GetTVShows", properties=properties).get("tvshows", [])

        counts = []

        def is_done():
            counts.append(len(everything()))
            return len(counts) > 15 and len(set(counts[-15:])) == 1

        wait("the scan", is_done, 600)
        return everything()
    finally:
        for process in (kodi, screen):
            process.kill()
            process.wait()
        shutil.rmtree(home, ignore_errors=True)


def compared(items):
    """What must be the same before and after, by title."""
    return sorted((item["title"], item["year"], item["plot"], tuple(item["genre"])) for item in items)


def main():
    binary = next(iter(glob.glob("/usr/lib/*/kodi/kodi.bin") + glob.glob("/usr/lib/kodi/kodi.bin")), None)
    if not binary or not shutil.which("Xvfb"):
        print("skipped: Kodi and Xvfb are not installed")
        return
    library, runtime = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    truths = json.loads(Path(f"{library}.json").read_text())

    def tag(*options):
        for name, _, _ in SOURCES:
            subprocess.run([runtime, "tag", library / name, "--operating-point", "recall", *options], check=True)

    before = shown(binary, library)
    tag("--nfo")
    after = shown(binary, library)
    tag("--nfo-undo")
    undone = shown(binary, library)

    problems = []
    by_title = {}
    for item in after:
        by_title.setdefault(unicodedata.normalize("NFC", item["title"]), []).append(item)
    old = {item["title"]: item for item in before}
    for truth in truths:
        # Without an NFO file Kodi's local scraper shows no series, and none is made.
        if truth["is_show"] and not truth["has_nfo"]:
            continue
        items = by_title.get(truth["title"], [])
        say = lambda problem: problems.append(f"{truth['by']}: {truth['title']}: {problem}")
        if len(items) != 1:
            say(f"is shown {len(items)} times")
            continue
        item = items[0]
        if truth["year"] and item["year"] != truth["year"]:
            say(f"year {item['year']}, not {truth['year']}")
        if not item["genre"]:
            say("no genres")
        if "poster" not in item["art"] and "thumb" not in item["art"]:
            say("no poster")
        if truth["has_nfo"]:
            was = old.get(item["title"], {})
            if item["plot"] != was.get("plot") or not set(was.get("genre", [])) <= set(item["genre"]):
                say("something of the NFO file is lost")
    if compared(before) != compared(undone):
        problems.append("after --nfo-undo Kodi shows something else than before")
    print(f"Kodi shows {len(before)} before, {len(after)} after, {len(undone)} after --nfo-undo of {len(truths)}")
    print("\n".join(problems) or "all as expected")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
