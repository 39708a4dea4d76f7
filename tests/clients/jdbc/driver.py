"""Compiles and runs Driver.java, the check program of the JDBC driver."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.city.live.running import City
from tests.clients import programs
from tests.clients.front import Front
from tests.clients.pages import line
from tests.protocol.conftest import Served

VERSION = "476"
SOURCE = Path(__file__).with_name("Driver.java")
CACHE = Path(__file__).parents[3] / ".cache" / "clients" / "jdbc"
JAR = CACHE / f"trino-jdbc-{VERSION}.jar"


def jar() -> Path:
    """The driver, fetched once with Maven."""
    if not JAR.is_file():
        fetched = CACHE / f"fetched-{os.getpid()}"
        artifact = f"-Dartifact=io.trino:trino-jdbc:{VERSION}"
        command = ["mvn", "-q", "-B", "dependency:copy", artifact, f"-DoutputDirectory={fetched}"]
        subprocess.run([*command, "-Dmdep.useBaseVersion=true"], check=True, timeout=240)
        (fetched / JAR.name).replace(JAR)
        fetched.rmdir()
    return JAR


def compiled(source: Path, folder: Path) -> list[str]:
    """The command that runs a Java program of one class, compiled into `folder`."""
    assert shutil.which("javac"), "this needs a JDK: install `openjdk-17-jdk-headless`"
    subprocess.run(["javac", "-d", str(folder), str(source)], check=True, timeout=120)
    return ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", f"{folder}{os.pathsep}{jar()}", source.stem]


def names(*methods: str) -> list[str]:
    """The checks in these methods of Driver.java; all without any."""
    text = SOURCE.read_text(encoding="utf-8")
    bodies = re.split(r"^    private static void (\w+)\(\) \{$", text, flags=re.MULTILINE)
    found = [(method, name) for method, body in zip(bodies[1::2], bodies[2::2], strict=True)
             for name in programs.CHECK.findall(body)]  # fmt: skip
    return [name for method, name in found if not methods or method in methods]


def run(
    what: str, folder: Path, city: City, types: Served, front: Front, token: Callable[[str], str]
) -> programs.Outcome:
    """Run the program's checks. what: `smoke` or `all`."""
    question, answer = folder / "question.sql", folder / "answer.txt"
    question.write_text(city.question(1), encoding="utf-8")
    rows = city.answer_key("q1")["rows"]
    answer.write_text("\n".join("\t".join(str(v) for v in row) for row in rows), encoding="utf-8")
    env = {
        "URL": line("jdbc", "JDBC URL", city.port),
        "TYPES": f"jdbc:trino://127.0.0.1:{types.port}?user=lin",
        "TLS": f"jdbc:trino://127.0.0.1:{front.port}/city/org",
        "CERTIFICATE": str(front.certificate),
        "TOKEN": token("lin"),
        "QUESTION": str(question),
        "ANSWER": str(answer),
    }
    return programs.run([*compiled(SOURCE, folder), what], folder, env)
