"""What the programs of the chaos suite share: networks, processes, daemons, and who is to blame.

Signals go only to processes that carry this run's mark in their environment, that is to what it
started itself.
"""
import collections
import glob
import os
import shutil
import signal
import subprocess
import threading
import time

NODES = 3
FABRIC_HOST = "10.77.9.1"  # the parent's, which all nodes reach
POOL = "32M"
READY_SECONDS = 30
END_SECONDS = 60
GONE_SECONDS = 10

# What a run, and what goes with it, may fail with after a fault; see docs/failure-model.md.
LOST = {"EUNAVAILABLE", "ESTALE", "ENOTFOUND"}
MAY_CAUSE = {
    "cancel": {"ECANCELLED"},
    "fill": {"ENOSPACE"},
    # A node's session may end, or its daemon be another one: handles are stale, callables unknown.
    "kill front end": LOST | {"EDEADLINE"},
    "drain": LOST | {"EDEADLINE"},
    "kill engine": LOST,
    "kill node helper": LOST,
    "kill node worker": {"ECRASHED"},
    "kill parent helper": {"EUNAVAILABLE", "ECRASHED"},
    "kill sub worker": {"ECRASHED"},
    "kill next level": {"ECRASHED"},
    "kill next level helper": {"ECRASHED", "EUNAVAILABLE"},
    "kill next level worker": {"ECRASHED"},
    # What is stopped for longer than others wait for it is late, or killed and replaced.
    "stop front end": LOST | {"EDEADLINE"},
    "stop engine": LOST | {"EDEADLINE"},
    "stop node helper": LOST | {"EDEADLINE"},
    "stop node worker": {"EDEADLINE", "ECRASHED"},
    "stop parent helper": {"EDEADLINE", "EUNAVAILABLE"},
    "stop sub worker": {"EDEADLINE", "ECRASHED"},
    "stop next level": {"EDEADLINE", "ECRASHED"},
    "stop next level helper": {"EDEADLINE", "ECRASHED", "EUNAVAILABLE"},
    "stop next level worker": {"EDEADLINE", "ECRASHED"},
    "stop parent": LOST | {"EDEADLINE"},
    "kill parent": set(),
    "cut link": LOST | {"EDEADLINE"},
    "slow link": LOST | {"EDEADLINE"},
    "drop packets": LOST | {"EDEADLINE"},
}
BY_PARENT = ("cancel", "fill")  # does the parent itself


class Failure(Exception):
    pass


def run(*command, **options):
    result = subprocess.run(command, stdin=options.pop("stdin", subprocess.DEVNULL),
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if result.returncode:
        raise Failure(f"{' '.join(command)}: {result.stdout.strip()}")
    return result.stdout


class Network:
    """Namespaces joined by veth pairs, or the loopback interface. One node may be in the parent's
    namespace, as shared memory is told of by a socket that is a namespace's own."""

    def __init__(self, loopback=False):
        self.names = []
        self.near = None
        self.parent = None
        self.why_not = "loopback is asked for"
        if loopback:
            return
        self.why_not = self.cannot()
        if self.why_not:
            print(f"chaos: SKIPPED, the faults of links: {self.why_not}", flush=True)
            return
        self.forget_the_dead()
        try:
            self.parent = self.add("p")
            run("ip", "-n", self.parent, "addr", "add", f"{FABRIC_HOST}/32", "dev", "lo")
            self.nodes = [self.add(f"n{i}") for i in range(NODES)]
            for i in range(NODES):
                self.join(i)
        except Failure as error:
            self.close()
            self.why_not = str(error)
            print(f"chaos: SKIPPED, the faults of links: {error}", flush=True)

    @staticmethod
    def cannot():
        if os.geteuid() != 0:
            return "only root may make network namespaces"
        for tool in ("ip", "tc", "nft"):
            if not shutil.which(tool):
                return f"{tool} is not installed"
        return None

    @staticmethod
    def forget_the_dead():
        """What a run left that was killed itself."""
        for path in glob.glob("/run/netns/simpler-chaos-*"):
            name = os.path.basename(path)
            if not os.path.exists(f"/proc/{name.split('-')[2]}"):
                subprocess.run(["ip", "netns", "del", name], stdin=subprocess.DEVNULL, check=False)

    def add(self, which):
        name = f"simpler-chaos-{os.getpid()}-{which}"
        run("ip", "netns", "add", name)
        self.names.append(name)
        run("ip", "-n", name, "link", "set", "lo", "up")
        return name

    def join(self, i):
        node = self.nodes[i]
        run("ip", "-n", self.parent, "link", "add", f"to{i}", "type", "veth", "peer", "name", "up0",
            "netns", node)
        run("ip", "-n", self.parent, "addr", "add", f"10.77.{i}.1/24", "dev", f"to{i}")
        run("ip", "-n", node, "addr", "add", f"10.77.{i}.2/24", "dev", "up0")
        run("ip", "-n", self.parent, "link", "set", f"to{i}", "up")
        self.lift(i)

    def lift(self, i):
        run("ip", "-n", self.nodes[i], "link", "set", "up0", "up")
        run("ip", "-n", self.nodes[i], "route", "replace", "default", "via", f"10.77.{i}.1")

    def is_near(self, node):
        """Whether it is in the parent's namespace, with no link between them."""
        return bool(self.why_not) or node == self.near

    def inside(self, node):
        """What goes before a command that runs there; None is the parent's place."""
        if self.why_not:
            return []
        here = node is None or self.is_near(node)
        return ["ip", "netns", "exec", self.parent if here else self.nodes[node]]

    def host(self, node):
        """None is the parent, which only a fabric asks for."""
        if self.why_not:
            return "127.0.0.1"
        if node is None:
            return FABRIC_HOST
        return f"10.77.{node}.{1 if self.is_near(node) else 2}"

    def cut(self, node):
        run("ip", "-n", self.nodes[node], "link", "set", "up0", "down")

    def slow(self, node, kilobits):
        run("tc", "-n", self.nodes[node], "qdisc", "replace", "dev", "up0", "root", "tbf", "rate",
            f"{kilobits}kbit", "burst", "16kb", "latency", "300ms")

    def drop(self, node, percent):
        nft = ["ip", "netns", "exec", self.nodes[node], "nft"]
        run(*nft, "add table inet chaos; add chain inet chaos input "
                  "{ type filter hook input priority 0; }; "
                  f"add rule inet chaos input numgen random mod 100 < {percent} drop")

    def mend(self, node):
        if self.why_not:
            return
        inside = self.nodes[node]
        self.lift(node)
        subprocess.run(["tc", "-n", inside, "qdisc", "del", "dev", "up0", "root"],
                       stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        run("ip", "netns", "exec", inside, "nft", "flush", "ruleset")

    def close(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], stdin=subprocess.DEVNULL, check=False)
        self.names = []


class Processes:
    """Those that carry the mark of this run, which children inherit."""

    def __init__(self, mark):
        self.mark = mark

    def marked(self, role):
        wanted = f"SIMPLER_CHAOS={self.mark}/{role}".encode()
        found = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as file:
                    if not any(each.startswith(wanted) for each in file.read().split(b"\0")):
                        continue
                with open(f"/proc/{pid}/stat") as file:
                    state = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            if state[0] not in "ZX":
                found[int(pid)] = int(state[1])
        return found

    def tree(self, role, top):
        """[pids] by depth below `top`, which is the only one at depth 0."""
        parents = self.marked(role)
        levels = [[top]]
        while levels[-1]:
            levels.append(sorted(pid for pid, above in parents.items() if above in levels[-1]))
        return levels[:-1], parents

    def pick(self, what, role, top):
        """The pids that a fault's target names, among those there are now."""
        levels, parents = self.tree(role, top)

        def at(depth):
            return levels[depth] if depth < len(levels) else []

        def has_children(pid):
            return pid in parents.values()

        return {
            "front end": lambda: at(0), "engine": lambda: at(1), "node helper": lambda: at(2),
            "node worker": lambda: at(3),
            "parent": lambda: at(0), "parent helper": lambda: at(1),
            "sub worker": lambda: [pid for pid in at(2) if not has_children(pid)],
            "next level": lambda: [pid for pid in at(2) if has_children(pid)],
            "next level helper": lambda: at(3), "next level worker": lambda: at(4),
        }[what]()

    @staticmethod
    def signal(pid, number):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


class Child:
    """A process with its lines of output, which are kept."""

    def __init__(self, command, role, mark, log, folder, environment):
        environment = dict(os.environ, SIMPLER_CHAOS=f"{mark}/{role}", TMPDIR=folder,
                           **environment)
        with open(log, "ab") as errors:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=errors, env=environment, text=True)
        self.lines, self.changed = [], threading.Condition()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(line.rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.lines.append(None)
            self.changed.notify_all()

    def until(self, start, seconds):
        """Whether a line that begins so has come; False when it ended or was too late."""
        def there():
            return any(line is None or line.startswith(start) for line in self.lines)
        with self.changed:
            self.changed.wait_for(there, seconds)
            return any(line and line.startswith(start) for line in self.lines)

    def wait(self, seconds):
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        self.thread.join(GONE_SECONDS)
        return status

    def say(self, line):
        try:
            self.process.stdin.write(line)
            self.process.stdin.flush()
        except BrokenPipeError:
            pass

    def close(self):
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        self.process.stdout.close()


class Carriers:
    """By what dispatches and the bytes of staged tensors get to each node: `lanes` as the parent
    names them, `limits` as the daemons do (--lane), `transports` that tasks draw from."""

    def __init__(self, fabric=False, shm=True, limit="auto", transport="auto"):
        self.fabric, self.shm = fabric, shm
        self.lanes, self.limits = ["auto"] * NODES, [limit] * NODES
        self.transports = [[transport] for _ in range(NODES)]

    def expected(self, node):
        """The one lane that dispatches go by there when nothing is broken, or "auto": the best."""
        return self.lanes[node] if self.limits[node] == "auto" else self.limits[node]

    def named(self):
        """What has to carry something, as the parent tells of it."""
        named = {f"lane-{self.expected(i)}" for i in range(NODES)}
        named |= {f"transport-{each}" for of in self.transports for each in of}
        return named - {"lane-auto", "transport-auto"}

    def __str__(self):
        lanes = " ".join(self.lanes[i] if self.limits[i] == "auto" else
                         f"{self.lanes[i]}/{self.limits[i]}" for i in range(NODES))
        transports = " ".join("+".join(of) for of in self.transports)
        return f"lanes {lanes}, transports {transports}, {'a' if self.fabric else 'no'} fabric"


class Scene:
    """Three daemons and what is started beside them, in a folder of their own."""

    def __init__(self, seed, network, folder, carriers=None):
        self.seed, self.network, self.folder = seed, network, folder
        self.carriers = carriers or Carriers()
        self.carried, self.happened = collections.Counter(), collections.Counter()
        self.mark = f"{os.getpid()}-{seed}"
        self.processes = Processes(self.mark)
        self.daemons, self.addresses = [None] * NODES, [None] * NODES
        self.children = []
        self.environments = {}

    def start(self, command, role, **environment):
        child = Child(command, role, self.mark, os.path.join(self.folder, f"{role}.log"),
                      self.folder, {**environment, **self.environments.get(role, {})})
        self.children.append(child)
        return child

    def start_daemon(self, i):
        """A port that its predecessor had may need a moment."""
        until = time.monotonic() + READY_SECONDS
        assert self.daemons[i] is None or self.daemons[i].process.poll() is not None
        listen = self.addresses[i] or f"{self.network.host(i)}:0"
        fabric = ["--fabric", "tcp", "--fabric-address", self.network.host(i)]
        while time.monotonic() < until:
            child = self.start(self.network.inside(i) + [
                os.environ["SIMPLER_L3D"], "--listen", listen, "--insecure", "--code", "any",
                "--sub-workers", "1", "--chips", "1", "--pool-bytes", POOL, "--heap", "64M",
                "--stop-grace", "300", "--drain-grace", "5", "--port-file",
                os.path.join(self.folder, f"port{i}"), "--lane", self.carriers.limits[i],
                "--shm", "on" if self.carriers.shm else "off",
                *(fabric if self.carriers.fabric else [])], f"node{i}")
            if child.until("ready ", READY_SECONDS):
                self.addresses[i] = child.lines[0].split()[1]
                self.daemons[i] = child
                return
            child.wait(READY_SECONDS)
        raise Failure(f"daemon {i} does not get ready at {listen}")

    def start_parent(self, role, runs):
        fabric = {"CHAOS_FABRIC": self.network.host(None)} if self.carriers.fabric else {}
        nodes = [",".join([self.addresses[i], self.carriers.lanes[i], *self.carriers.transports[i]])
                 for i in range(NODES)]
        return self.start(self.network.inside(None) + [
            os.environ["CHAOS_PARENT"], os.environ["CHAOS_MODULE"], str(self.seed), str(runs),
            *nodes], role, **fabric)

    def mend_daemon(self, i, allowed):
        """One that ended, as it was allowed to, is gone with all below it, and started again."""
        child = self.daemons[i]
        if child.process.poll() is None:
            return
        status = child.wait(0)
        if status not in allowed:
            raise Failure(f"daemon {i} ended with status {status}")
        self.find_gone(f"node{i}")
        self.start_daemon(i)

    def find_gone(self, role):
        until = time.monotonic() + GONE_SECONDS
        while (left := self.processes.marked(role)) and time.monotonic() < until:
            time.sleep(0.02)
        if left:
            raise Failure(f"left behind of {role or 'all'}: {self.describe(left)}")

    @staticmethod
    def describe(pids):
        texts = []
        for pid in pids:
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    line = file.read().replace(b"\0", b" ").decode(errors="replace")
                with open(f"/proc/{pid}/wchan") as file:
                    texts.append(f"{pid} {line}(in {file.read()})")
            except OSError:
                continue
        return "; ".join(texts)

    def judge(self, parent, allowed, what):
        """Every status is SIMPLER_OK or in `allowed`, or the parent did it itself to the run it was
        about to tell of. Returns those of runs."""
        results, own = [], set()
        for line in filter(None, parent.lines):
            words = line.split()
            if words[0] == "carried":
                self.carried[words[1]] += int(words[2])
                continue
            if words[0] in ("wrong", "late", "pool"):
                raise Failure(f"{what}: {line}")
            if words[0] in BY_PARENT:
                own |= MAY_CAUSE[words[0]]
                if words[0] == "cancel" or words[1] == "SIMPLER_ENOSPACE":
                    self.happened[words[0]] += 1
            status = next((word for word in words[1:3] if word.startswith("SIMPLER_")), None)
            if status is None:
                continue
            if status.removeprefix("SIMPLER_") not in allowed | own | {"OK"}:
                raise Failure(f"{what}: {line}\n    may have been any of: {sorted(allowed)}")
            if words[0] == "run":
                results.append(status)
                own = set()
        return results

    def wait_ready(self, i):
        until = time.monotonic() + READY_SECONDS
        command = self.network.inside(None) + [os.environ["SIMPLER_TOOL"], "heartbeat",
                                               self.addresses[i]]
        while subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, check=False).returncode:
            if time.monotonic() > until:
                raise Failure(f"node {i} does not become ready again")
            time.sleep(0.05)

    def check_again(self):
        for i in range(NODES):
            self.wait_ready(i)
        again = self.start_parent("again", 2)
        if again.wait(END_SECONDS) != 0:
            self.judge(again, set(), "afterwards")
            raise Failure(f"afterwards: status {again.process.returncode}, "
                          f"{again.lines[-2:]}")
        self.judge(again, set(), "afterwards")
        self.check_lanes(again, "afterwards")

    def lanes_are_right(self, parent):
        """Whether dispatches go by the lanes that they should."""
        lanes = next((line.split()[1:] for line in reversed(parent.lines)
                      if line and line.startswith("lanes")), ["auto"] * NODES)
        expected = [self.carriers.expected(i) for i in range(NODES)]
        return all(lane == wanted or (wanted == "auto" and lane != "unary")
                   for lane, wanted in zip(lanes, expected))

    def check_lanes(self, parent, what):
        if not self.lanes_are_right(parent):
            told = [line for line in parent.lines if line and line.startswith("lanes")]
            raise Failure(f"{what}: dispatches go by {told}")

    def end_daemons(self):
        for child in self.daemons:
            child.process.send_signal(signal.SIGTERM)
        for i, child in enumerate(self.daemons):
            status = child.wait(END_SECONDS)
            if status != 0:
                raise Failure(f"daemon {i} ends with status {status} on SIGTERM")

    def find_nothing_left(self, shared_before):
        self.find_gone("")
        left = [name for name in os.listdir(self.folder) if not name.endswith((".log", ".once"))]
        left += sorted(set(glob.glob("/dev/shm/*simpler*")) - shared_before)
        if left:
            raise Failure(f"left behind: {left}")

    def clean_up(self):
        for pid in self.processes.marked(""):
            self.processes.signal(pid, signal.SIGKILL)
        for child in self.children:
            child.wait(GONE_SECONDS)
            child.close()
