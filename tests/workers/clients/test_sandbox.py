"""The sandbox, and the ways out of it that must be closed (security, rules 9 and 10)."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from models.errors import Unavailable
from workers.clients import sandbox


@pytest.fixture(params=["bwrap", "none"])
def either(request, setting):
    """Both ways to run commands."""
    setting(SANDBOX=request.param)


@pytest.fixture
def boxed(setting):
    setting(SANDBOX="bwrap")


@pytest.fixture(autouse=True)
def _fresh_trial():
    sandbox._trial.cache_clear()
    yield
    sandbox._trial.cache_clear()


def sh(command: str, workspace: Path, **options) -> sandbox.Result:
    return sandbox.run(["bash", "-c", command], workspace, **{"timeout": 10, **options})


@pytest.mark.usefixtures("either")
class TestEitherWay:
    def test_it_runs_in_the_workspace(self, tmp_path):
        (tmp_path / "a").write_text("hello")
        result = sh("cat a; echo new > b; echo err >&2; exit 3", tmp_path)
        assert (result.exit_code, result.output) == (3, "helloerr\n")
        assert (tmp_path / "b").read_text() == "new\n"

    def test_it_sees_the_given_environment_and_no_other(self, tmp_path, monkeypatch):
        monkeypatch.setenv("API_TOKEN", "planted")
        result = sh("env", tmp_path, env={"GIVEN": "x y"})
        assert "GIVEN=x y" in result.output
        assert "planted" not in result.output

    def test_time_runs_out(self, tmp_path):
        started = time.monotonic()
        result = sh("echo begun; sleep 60", tmp_path, timeout=0.5)
        assert (result.timed_out, result.output) == (True, "begun\n")
        assert time.monotonic() - started < 3

    def test_long_output_keeps_its_head_and_tail(self, tmp_path):
        result = sh("echo first; yes x | head -c 3000000; echo; echo last", tmp_path, output_limit=1000)
        assert result.truncated
        assert result.output.startswith("first\n")
        assert result.output.endswith("last\n")
        assert len(result.output) < 1100

    def test_endless_output_ends_with_the_time(self, tmp_path):
        assert sh("yes", tmp_path, timeout=0.5, output_limit=1000).timed_out

    def test_a_background_child_neither_blocks_nor_survives(self, tmp_path):
        started = time.monotonic()
        assert sh("(sleep 1; touch late) & echo done", tmp_path).output == "done\n"
        assert time.monotonic() - started < 1
        time.sleep(1.2)
        assert not (tmp_path / "late").exists()

    def test_what_is_no_text_is_shown_all_the_same(self, tmp_path):
        assert sh(r"printf '\377ok'", tmp_path).output == "\N{REPLACEMENT CHARACTER}ok"

    def test_closed_output_is_not_the_end(self, tmp_path):
        assert sh("exec >&- 2>&-; sleep 0.3; exit 3", tmp_path).exit_code == 3

    def test_a_file_cannot_grow_without_end(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sandbox.LIMITS, "fsize", 100_000)
        sh("head -c 1000000 /dev/zero > big", tmp_path)
        assert (tmp_path / "big").stat().st_size <= 100_000

    def test_memory_is_limited(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sandbox.LIMITS, "data", 50_000_000)
        result = sh("head -c 200000000 /dev/zero | tail | wc -c", tmp_path)
        assert "memory exhausted" in result.output or result.output.strip() == "0"

    def test_open_files_are_limited(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sandbox.LIMITS, "nofile", 20)
        assert sh("ulimit -n", tmp_path).output == "20\n"


def beside_a_secret(folder):
    """A workspace in `folder`, with a file beside it that nothing in it may read."""
    (folder / "outside").write_text("planted")
    (folder / "workspace").mkdir()
    return folder / "workspace"


@pytest.mark.usefixtures("boxed")
class TestWaysOut:
    def test_nothing_but_the_workspace_and_tmp_can_be_written(self, tmp_path):
        folders = "/ /usr /etc /usr/bin /lib /proc /dev /home /root /var"
        written = sh(f"for d in {folders}; do touch $d/mark 2>/dev/null && echo $d; done", tmp_path).output
        assert set(written.split()) <= {"/", "/dev", "/etc"}  # these are in memory and its own
        assert not any((Path(folder) / "mark").exists() for folder in folders.split())

    def test_secrets_of_the_host_are_not_there(self, tmp_path_factory):
        secret = tmp_path_factory.mktemp("data") / "token"
        secret.write_text("planted")
        workspace = tmp_path_factory.mktemp("workspace")
        script = (
            f"cat {secret} /etc/shadow /root/.ssh/* /proc/1/environ; ls /home /root /var /srv; ls -a {secret.parent}"
        )
        assert "planted" not in sh(script, workspace).output
        assert "No such file" in sh(f"cat {secret}", workspace).output

    @pytest.mark.parametrize("path", ["/proc/self/root", "/proc/1/root", "/proc/self/cwd/..", "/workspace/.."])
    def test_proc_and_dots_lead_nowhere_else(self, tmp_path, path):
        workspace = beside_a_secret(tmp_path)
        assert "planted" not in sh(f"cat {path}/outside {path}{tmp_path}/outside", workspace).output

    def test_a_link_out_leads_nowhere(self, tmp_path):
        workspace = beside_a_secret(tmp_path)
        (workspace / "link").symlink_to(tmp_path / "outside")
        assert "planted" not in sh("cat link", workspace).output

    def test_there_is_no_network(self, tmp_path):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            result = sh(f"exec 3<>/dev/tcp/127.0.0.1/{port} && echo connected; cat /proc/net/dev", tmp_path)
        assert "connected" not in result.output
        assert "eth0" not in result.output

    def test_abstract_sockets_of_the_host_are_out_of_reach(self, tmp_path):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("\0djinnbot-test")
            listener.listen()
            code = "import socket; socket.socket(socket.AF_UNIX).connect('\\0djinnbot-test'); print('connected')"
            assert "connected" not in sh(f'/usr/bin/python3 -c "{code}"', tmp_path).output

    def test_other_processes_are_not_seen(self, tmp_path):
        assert int(sh("ls -d /proc/[0-9]* | wc -l", tmp_path).output) < 8
        assert "No such process" in sh(f"kill -0 {os.getpid()}", tmp_path).output

    def test_it_is_nobody_special(self, tmp_path):
        result = sh("id -u; grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status", tmp_path)
        assert result.output.split() == ["1000", "CapEff:", "0" * 16, "CapBnd:", "0" * 16, "NoNewPrivs:", "1"]

    @pytest.mark.parametrize("command", ["unshare -U true", "mount -t tmpfs x /tmp", "chroot / true", "mknod d c 1 1"])
    def test_more_rights_cannot_be_had(self, tmp_path, command):
        assert sh(command, tmp_path).exit_code != 0

    def test_no_setting_of_the_kernel_can_be_opened_for_writing(self, tmp_path):
        """Opened and looked at only: a test that wrote would change the machine where the guard is missing."""
        look = r"find /proc -path '/proc/[0-9]*' -prune -o -path /proc/self -prune -o -type f -writable -print"
        not_null = "while read -r file; do [ -c $file ] || echo $file; done"
        assert sh(f"{look} 2>/dev/null | {not_null}", tmp_path).output == ""
        assert sh("exec 3>>/proc/sys/kernel/core_pattern", tmp_path).exit_code != 0

    def test_what_the_kernel_shows_to_root_alone_is_hidden(self, tmp_path):
        names = "kmsg kcore slabinfo timer_list vmallocinfo kpageflags"
        assert sh(f"cd /proc; head -qc 100 {names} 2>/dev/null", tmp_path).output == ""

    def test_the_terminal_cannot_be_typed_into(self, tmp_path):
        assert "No such device" in sh("echo x > /dev/tty", tmp_path).output

    def test_a_workspace_does_not_see_its_neighbour(self, tmp_path):
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        (tmp_path / "b" / "secret").write_text("planted")
        assert "planted" not in sh("cat ../b/secret /workspace/../b/secret", tmp_path / "a").output

    def test_values_of_the_environment_are_not_in_the_process_list(self, tmp_path):
        seen = threading.Thread(target=sh, args=("sleep 0.5", tmp_path), kwargs={"env": {"KEY": "planted-value"}})
        seen.start()
        time.sleep(0.25)
        listed = b"".join(path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists())
        seen.join()
        assert b"bwrap" in listed
        assert b"planted-value" not in listed


@pytest.mark.usefixtures("either")
def test_it_dies_with_the_worker(tmp_path):
    code = (
        "from pathlib import Path; from workers.clients import sandbox\n"
        f"sandbox.run(['bash', '-c', 'touch begun; exec sleep 2.2; touch late'], Path('{tmp_path}'), timeout=60)"
    )
    worker = subprocess.Popen([sys.executable, "-c", code])
    while not (tmp_path / "begun").exists():
        time.sleep(0.02)
    worker.kill()
    worker.wait()
    time.sleep(0.3)
    assert b"sleep\x002.2" not in b"".join(p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if p.exists())


@pytest.mark.parametrize("mode", ["bwrap", "none"])
def test_a_cancelled_step_kills_its_command(tmp_path, mode):
    """In a process of its own, as gevent is patched in there."""
    argv = [sys.executable, "-m", "gevent.monkey", "--module", "tests.workers.clients.patched_sandbox", str(tmp_path)]
    environment = {**os.environ, "SANDBOX": mode}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "LeaseLost"
    assert (tmp_path / "begun").exists()
    time.sleep(1)
    assert not (tmp_path / "late").exists()


@pytest.mark.usefixtures("boxed")
def test_without_bubblewrap_nothing_runs_bare(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert "not installed" in sandbox.available()
    with pytest.raises(Unavailable, match="disabled"):
        sh("touch here", tmp_path)
    assert not (tmp_path / "here").exists()


@pytest.mark.usefixtures("boxed")
def test_a_bubblewrap_that_does_not_work_is_found_out_by_a_trial(tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, "SETTINGS", ("x",))
    monkeypatch.setattr(sandbox, "WORKSPACE", "/proc/nowhere")
    assert "trial run failed" in sandbox.available()


def test_an_unknown_sandbox_is_no_sandbox(tmp_path, setting):
    setting(SANDBOX="docker")
    with pytest.raises(Unavailable, match="bwrap or none"):
        sh("true", tmp_path)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become someone else")
def test_it_works_for_a_plain_user(tmp_path):
    tmp_path.chmod(0o777)
    for folder in list(tmp_path.parents)[:-2]:
        folder.chmod(0o755)
    argv = [*sandbox._bubblewrap(tmp_path), *sandbox._limits(), "bash", "-c", "id -u > mine; cat mine"]
    done = subprocess.run(["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", *argv], capture_output=True)
    assert (done.stdout, done.stderr) == (b"1000\n", b"")
    assert (tmp_path / "mine").stat().st_uid == 12345


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become someone else")
def test_processes_of_a_plain_user_are_limited(tmp_path, monkeypatch):
    monkeypatch.setitem(sandbox.LIMITS, "nproc", 20)
    for folder in list(tmp_path.parents)[:-2]:
        folder.chmod(0o755)
    tmp_path.chmod(0o777)
    script = "for i in $(seq 50); do sleep 5 & done; echo $(jobs -p | wc -l)"
    argv = [*sandbox._bubblewrap(tmp_path), *sandbox._limits(), "bash", "-c", script]
    become = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"]
    done = subprocess.run([*become, *argv], capture_output=True, text=True, timeout=20)
    assert "Resource temporarily unavailable" in done.stderr


def test_a_child_that_leaves_its_session_is_killed_at_the_timeout(tmp_path):
    sh("setsid bash -c 'sleep 1; touch late' & sleep 60", tmp_path, timeout=0.3)
    time.sleep(1.2)
    assert not (tmp_path / "late").exists()
