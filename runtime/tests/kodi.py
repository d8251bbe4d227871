#!/usr/bin/env python3
"""Lets Kodi judge the NFO files: it scans a made-up library before `runtime tag --nfo`, after it, and after
`--nfo-undo`, and must show every film and series once, with the added genres and all that it showed before.

    cargo run --release -p fixtures -- forms LIBRARY
    runtime/tests/kodi.py LIBRARY target/release/runtime

Needs Kodi, Xvfb and a software renderer (Debian: kodi-bin kodi-data xvfb libgl1-mesa-dri), and takes three minutes;
says that it was skipped where they are missing. Kodi runs on a copy of the library, in a home and on a screen of its
own, listens on this machine only, and is ended. The exit status is 1 if Kodi shows something else than it should.
"""

import glob
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import unicodedata
import urllib.request
from collections import Counter
from pathlib import Path

# Library, content, and whether "Movies are in separate folders that match the movie title" is on.
SOURCES = [("Films", "movies", 1), ("Mixed", "movies", 0), ("Series", "tvshows", 0)]

# Kodi 20 has no versions of a film: each file is a film of its own.
VERSIONS = {"Jellyfin, versions": 2, "Jellyfin, versions with an NFO file of one": 2}

# Posters that the other servers find, and Kodi does not: it knows poster, folder and NAME-poster, byte for byte.
POSTERS_OF_OTHERS = {
    "Kodi, tbn", "Plex", "Plex, edition", "Plex, numbered posters", "Emby, parts in folders", "Synology",
    "an anime group", "a Mac", "mixed, Plex", "mixed, a release", "mixed, capitals", "mixed, a Mac",
}  # fmt: skip

# NFO files in capitals that Kodi does not find where case matters.
UNSEEN = {"mixed, capitals", "Kodi, capitals"}

MOVIE = """<?xml version="1.0" encoding="{encoding}" standalone="yes"?>
<movie>
  <title>{title}</title>
  <originaltitle>Der Titel ohne Übersetzung</originaltitle>
  <sorttitle>{title}, sorted</sorttitle>
  <ratings><rating name="imdb" max="10" default="true"><value>7.5</value><votes>99</votes></rating></ratings>
  <outline>An outline.</outline>
  <plot>A plot with “quotes” &amp; more than one
line – {title}.</plot>
  <tagline>A tagline</tagline>
  <runtime>93</runtime>
  <mpaa>FSK 12</mpaa>
  <uniqueid type="imdb" default="true">tt9999999</uniqueid>
  {genres}
  <country>Norway</country>
  <set><name>A set</name><overview>Of films.</overview></set>
  <tag>a tag</tag>
  <credits>A Writer</credits>
  <director>A Director</director>
  <premiered>1987-06-05</premiered>
  <studio>A Studio</studio>
  <actor><name>An Actor</name><role>A Rôle</role><order>0</order></actor>
  {more}
</movie>
"""
# Full NFO files, each of a film of its own: title, encoding, genres, other elements, whether they may be changed.
FULL = [
    ("Full", "utf-8", "<genre>Period Piece</genre>", "", True),
    ("Full without genres", "utf-8", "", "", True),
    ("Full with an empty genre", "utf-8", "<genre/>", "", True),
    ("Full with joined genres", "utf-8", "<genre>Period Piece / Farce</genre>", "", True),
    ("Full with a mark", "utf-8-sig", "<genre>Period Piece</genre>", "", True),
    ("Full of Windows", "windows-1252", "<genre>Period Piece</genre>", "", True),
    ("Full and locked", "utf-8", "<genre>Period Piece</genre>", "<lockdata>true</lockdata>", False),
    ("Full with locked genres", "utf-8", "<genre>Farce</genre>", "<lockedfields>Name|Genres</lockedfields>", False),
    ("Full with a locked plot", "utf-8", "<genre>Farce</genre>", "<lockedfields>Overview</lockedfields>", True),
]

COMMON = ["title", "year", "genre", "plot", "art", "file", "originaltitle", "sorttitle", "rating", "votes", "mpaa",
          "uniqueid", "tag", "studio", "premiered", "runtime", "cast"]  # fmt: skip
OF_FILMS = ["tagline", "plotoutline", "country", "set", "writer", "director"]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Kodi:
    """A Kodi with an empty database, "Local information only", until the end of a `with` block."""

    def __init__(self, binary):
        self.home, self.port = Path(tempfile.mkdtemp()), free_port()
        userdata = self.home / ".kodi/userdata"
        userdata.mkdir(parents=True)
        settings = {
            "webserver": "true", "webserverport": self.port, "webserverauthentication": "false",
            "esallinterfaces": "false", "zeroconf": "false", "airplay": "false",
        }  # fmt: skip
        lines = "".join(f'<setting id="services.{name}">{value}</setting>' for name, value in settings.items())
        (userdata / "guisettings.xml").write_text(f'<settings version="2">{lines}</settings>')
        xvfb = ["Xvfb", "-displayfd", "1", "-nolisten", "tcp", "-screen", "0", "640x480x24"]
        self.screen = subprocess.Popen(xvfb, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        display = f":{self.screen.stdout.readline().strip()}"
        environment = {**os.environ, "HOME": str(self.home), "DISPLAY": display, "LIBGL_ALWAYS_SOFTWARE": "1"}
        arguments = [binary, "--standalone", "--windowing=x11"]
        with open(self.home / "log", "w") as log:
            self.process = subprocess.Popen(arguments, env=environment, stdout=log, stderr=log)

    def __enter__(self):
        self.wait("the start", lambda: self.ask("JSONRPC.Ping") == "pong")
        return self

    def __exit__(self, *_):
        for process in (self.process, self.screen):
            process.kill()
            process.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def ask(self, method, **params):
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        url = f"http://127.0.0.1:{self.port}/jsonrpc"
        request = urllib.request.Request(url, body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer = json.load(answer)
        if "error" in answer:
            sys.exit(f"Kodi: {method}: {answer['error']}")
        return answer["result"]

    def wait(self, what, is_so, seconds=600):
        for _ in range(seconds):
            try:
                if is_so():
                    return
            except OSError:
                if self.process.poll() is not None:
                    sys.exit(f"Kodi has ended: {(self.home / 'log').read_text()[-2000:]}")
            time.sleep(1)
        sys.exit(f"Kodi: {what} took more than {seconds} s")

    def version(self):
        version = self.ask("Application.GetProperties", properties=["version"])["version"]
        return f"{version['major']}.{version['minor']}"

    def everything(self):
        films = self.ask("VideoLibrary.GetMovies", properties=COMMON + OF_FILMS).get("movies", [])
        of_shows = [name for name in COMMON if name not in ("sorttitle",)]
        return films + self.ask("VideoLibrary.GetTVShows", properties=of_shows).get("tvshows", [])

    def scan(self, library):
        """Every film and series that it shows of the library."""
        with sqlite3.connect(next(self.home.glob(".kodi/userdata/Database/MyVideos*.db"))) as database:
            for name, content, has_folders in SOURCES:
                database.execute(
                    "insert into path(strPath, strContent, strScraper, scanRecursive, useFolderNames, noUpdate,"
                    " exclude, allAudio) values(?, ?, 'metadata.local', 2147483647, ?, 0, 0, 0)",
                    (f"{library / name}/", content, has_folders),
                )
        self.ask("VideoLibrary.Scan", showdialogs=False)
        counts = []

        def is_done():
            counts.append(len(self.everything()))
            return len(counts) > 15 and len(set(counts[-15:])) == 1

        self.wait("the scan", is_done)
        return self.everything()


def add_full(library, truths):
    """Films whose NFO files have all that Kodi reads."""
    picture = next((library / "Films").rglob("poster.jpg")).read_bytes()
    for index, (title, encoding, genres, more, is_open) in enumerate(FULL):
        folder = library / f"Films/{title} (1987)"
        folder.mkdir()
        (folder / f"{title}.mkv").touch()
        # Each differs from the others behind its end.
        (folder / "poster.jpg").write_bytes(picture + bytes([index]))
        text = MOVIE.format(title=title, encoding=encoding.removesuffix("-sig"), genres=genres, more=more)
        (folder / f"{title}.nfo").write_bytes(text.encode(encoding))
        poster = f"Films/{title} (1987)/poster.jpg"
        truths.append({
            "by": "full", "is_show": False, "title": title, "year": 1987, "poster": poster, "has_nfo": True,
            "is_locked": not is_open,
        })  # fmt: skip


def without_genres(item):
    """All that may not change."""
    return {name: value for name, value in item.items() if name not in ("genre", "movieid", "tvshowid")}


def problems_of(truth, before, after, predicted):
    """What Kodi shows wrongly of a film or series, given what it showed of it before and after."""
    by = truth["by"]
    is_seen = by not in UNSEEN or bool(before)
    expected = VERSIONS.get(by, 1) if is_seen else 0
    if len(after) != expected:
        yield f"is shown {len(after)} times, not {expected}"
    if truth["has_nfo"] and len(before) != expected:
        yield f"was shown {len(before)} times before, not {expected}"
    if sorted(item["file"] for item in before) != sorted(item["file"] for item in after) and truth["has_nfo"]:
        yield "is shown with other files"
    by_file = {item["file"]: item for item in before}
    for item in after:
        if truth["year"] and item["year"] != truth["year"]:
            yield f"year {item['year']}, not {truth['year']}"
        if "poster" not in item["art"] and "thumb" not in item["art"] and by not in POSTERS_OF_OTHERS:
            yield "no poster"
        was = by_file.get(item["file"], {"genre": []})
        genres = was["genre"] + ([] if truth.get("is_locked") else predicted)
        if Counter(item["genre"]) != Counter(genres):
            yield f"genres {item['genre']}, not {genres}"
        if truth["has_nfo"] and without_genres(item) != without_genres(was):
            yield f"something of the NFO file is lost: {without_genres(item)}, was {without_genres(was)}"


def main():
    names = [f"{folder}/kodi/{name}" for folder in ("/usr/lib", "/usr/lib/*") for name in ("kodi.bin", "kodi-x11")]
    binary = next((found for name in names for found in glob.glob(name)), None)
    if not binary or not shutil.which("Xvfb"):
        print("skipped: Kodi or Xvfb is not installed")
        return
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    original, runtime = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    truths = json.loads(Path(f"{original}.json").read_text())
    with tempfile.TemporaryDirectory() as folder:
        problems = judge(binary, runtime, original, Path(folder).resolve() / "library", truths)
    print("\n".join(problems) or "all as expected")
    sys.exit(bool(problems))


def judge(binary, runtime, original, library, truths):
    shutil.copytree(original, library)
    add_full(library, truths)
    predicted = {}

    def tag(*options):
        for name, _, _ in SOURCES:
            # At this operating point every film has genres.
            command = [runtime, "tag", library / name, "--operating-point", "recall", "--jsonl", "-", *options]
            for line in subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines():
                poster = json.loads(line)
                predicted[str(Path(poster["path"]).relative_to(library))] = poster["genres"]

    def shown():
        with Kodi(binary) as kodi:
            return kodi.version(), kodi.scan(library)

    version, before = shown()
    tag("--nfo")
    _, after = shown()
    tag("--nfo-undo")
    _, undone = shown()

    def of(items, truth):
        return [item for item in items if unicodedata.normalize("NFC", item["title"]) == truth["title"]]

    problems = []
    # Without an NFO file "Local information only" shows nothing, and none is made for a series.
    for truth in (truth for truth in truths if truth["has_nfo"] or not truth["is_show"]):
        found = problems_of(truth, of(before, truth), of(after, truth), predicted[truth["poster"]])
        problems += [f"{truth['by']}: {truth['title']}: {problem}" for problem in found]
    titles = {truth["title"] for truth in truths}
    problems += [f"{item['file']}: is shown as {item['title']}" for item in after
                 if unicodedata.normalize("NFC", item["title"]) not in titles]  # fmt: skip
    content = lambda items: sorted(json.dumps({**without_genres(it), "genre": it["genre"]}) for it in items)
    if content(before) != content(undone):
        problems.append("after --nfo-undo Kodi shows something else than before")
    print(f"Kodi {version} shows {len(before)} before, {len(after)} after, {len(undone)} after --nfo-undo")
    return problems


if __name__ == "__main__":
    main()
