"""Virtual machines of tests/rdma: what they boot, and how commands are run in them.

A machine is qemu without hardware support, a Debian kernel that was unpacked and not installed, and
an initramfs made here. Its serial line is its console, a file; commands come to it by a virtual
port, see `init`. All files are in one folder of build/.
"""
import os
import pathlib
import re
import select
import shutil
import socket
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
MODULES = ("virtio_pci", "virtio_console", "virtio_net", "crc32_generic", "rdma_rxe", "ib_uverbs", "rdma_ucm")
# Loaded by their names, so that nothing says that they are needed: {file: Debian's package}
LOADED = {"libfabric.so.1": "libfabric1", "libibverbs/librxe-rdmav*.so": "ibverbs-providers"}
BOOT_SECONDS = 90


class Failure(Exception):
    pass


class CannotStart(Failure):
    """qemu does not start on this machine."""


def output(*command):
    result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, check=False)
    if result.returncode:
        raise Failure(f"{' '.join(map(str, command))}: {result.stdout.strip()}")
    return result.stdout


# --- the image ---

def kernel_module_files(tree):
    """The files of MODULES and what they need, in the order in which they can be loaded."""
    files = {path.stem.replace("-", "_"): path for path in tree.rglob("*.ko")}
    order = []

    def add(name):
        needs = re.search(rb"\0depends=([^\0]*)\0", files[name].read_bytes()).group(1).decode()
        for each in filter(None, needs.split(",")):
            add(each)
        if files[name] not in order:
            order.append(files[name])

    for name in MODULES:
        if name not in files:
            raise Failure(f"the kernel in {tree} has no module {name}")
        add(name)
    return order


def libraries(program):
    lines = output("ldd", program)
    if "not found" in lines:
        raise Failure(f"{program} lacks a library: {lines}")
    return {pathlib.Path(path) for path in re.findall(r"(/\S+) \(0x", lines)}


def loaded_libraries():
    for name, package in LOADED.items():
        found = sorted(pathlib.Path("/usr/lib").glob(f"*/{name}"))
        if not found:
            raise Failure(f"there is no {name}: install {package}")
        yield found[0]


class Image:
    """kernel: the unpacked package. What is in `programs` is in /opt of a machine, and in its
    PATH."""

    def __init__(self, folder, kernel, programs):
        self.kernel = next((kernel / "boot").glob("vmlinuz-*"))
        self.initramfs = folder / "initramfs"
        self.root = folder / "root"
        shutil.rmtree(self.root, ignore_errors=True)
        for name in ("bin", "opt", "modules", "etc/libibverbs.d"):
            (self.root / name).mkdir(parents=True)
        self.take(HERE / "init", "init")
        self.take(shutil.which("busybox"), "bin/busybox")
        self.take("/etc/libibverbs.d/rxe.driver")
        self.take_modules(next((kernel / "lib/modules").iterdir()))
        self.take_programs([pathlib.Path(each) for each in programs])
        names = "\0".join(sorted(str(path.relative_to(self.root))
                                 for path in self.root.rglob("*")))
        with self.initramfs.open("wb") as file:
            subprocess.run(["cpio", "--create", "--null", "--format=newc", "--owner=0:0", "--quiet"],
                           cwd=self.root, input=names.encode(), stdout=file, check=True)

    def take(self, source, target=None):
        """A file, at the same place as here if no other is said."""
        path = self.root / (target or str(source).lstrip("/"))
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, path)

    def take_modules(self, tree):
        files = kernel_module_files(tree)
        for path in files:
            self.take(path, f"modules/{path.name}")
        (self.root / "modules/order").write_text(
            "".join(f"/modules/{path.name}\n" for path in files))

    def take_programs(self, programs):
        needed = set(loaded_libraries())
        for path in list(needed):
            needed |= libraries(path)
        for path in programs:
            self.take(path, f"opt/{path.name}")
            if not path.name.startswith("lib"):
                needed |= libraries(path)
        # A library of the build is among the programs, and found there.
        for path in needed:
            if not (self.root / "opt" / path.name).exists():
                self.take(path)


# --- a machine ---

class Machine:
    """`wire` is a socket that its network card's frames come from and go to."""

    def __init__(self, image, folder, name, address, wire):
        self.name, self.address = name, address
        self.console = folder / f"console-{name}"
        self.console.write_text("")
        self.pending = b""
        number = int(address.rpartition(".")[2])
        with (folder / f"qemu-{name}").open("wb") as self_said:
            self.said = folder / f"qemu-{name}"
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL",
                 "qemu-system-x86_64", "-machine", "q35,accel=tcg", "-cpu", "qemu64", "-smp", "1",
                 "-m", "768", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                 "-kernel", image.kernel, "-initrd", image.initramfs, "-append",
                 "console=ttyS0 loglevel=5 mitigations=off nokaslr panic=-1 rdinit=/init "
                 f"node={address}",
                 "-netdev", f"dgram,id=wire,local.type=fd,local.str={wire.fileno()}", "-device",
                 f"virtio-net-pci,netdev=wire,mac=52:54:00:00:00:{number:02x},romfile=,"
                 "speed=1000,duplex=full",
                 "-serial", f"file:{self.console}", "-chardev", "stdio,id=commands,signal=off",
                 "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=commands,nr=1"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self_said, bufsize=0,
                pass_fds=[wire.fileno()])

    def booted(self):
        """It has a soft-RoCE device, and takes commands."""
        try:
            self.result(BOOT_SECONDS)
        except Failure as error:
            if self.process.poll() is not None and not self.console.read_text():
                raise CannotStart(self.said.read_text().strip() or str(error)) from error
            raise

    def begin(self, command):
        """The one before has to have ended."""
        self.process.stdin.write(command.encode() + b"\n")

    def result(self, seconds):
        """(exit status, output) of the command that was begun."""
        until = time.monotonic() + seconds
        while not (end := re.search(rb"@@ (\d+)\r?\n", self.pending)):
            left = until - time.monotonic()
            ready = left > 0 and select.select([self.process.stdout], [], [], left)[0]
            if not ready:
                raise Failure(f"machine {self.name} did not answer within {seconds} s; it said "
                              f"{self.pending.decode(errors='replace')!r}")
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            if not data:
                raise Failure(f"machine {self.name} has ended")
            self.pending += data
        said = self.pending[:end.start()].decode(errors="replace")
        self.pending = self.pending[end.end():]
        return int(end.group(1)), said

    def run(self, command, seconds=20):
        """The output of a command that succeeds."""
        self.begin(command)
        status, said = self.result(seconds)
        if status:
            raise Failure(f"machine {self.name}: {command}: exit status {status}\n{said}")
        return said

    def await_end(self, seconds):
        """Until the machine itself has gone."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"machine {self.name} goes on") from None

    def kill(self):
        self.process.kill()
        self.process.wait()
