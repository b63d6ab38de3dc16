"""Runs a program at a terminal of its own, types what standard input says, and tells what the terminal showed.

Standard input: JSON {"command": [...], "environment": {...}, "typed": [[text to wait for, text to type], ...]}; a null to
type hangs up. Standard output: JSON {"code": exit code, "shown": text, "echo": whether the terminal echoes at the end}."""
import json
import os
import pty
import select
import sys
import termios
import time

task = json.load(sys.stdin)
pid, terminal = pty.fork()
if pid == 0:
    os.environ.update(task["environment"])
    os.execv(task["command"][0], task["command"])

shown, searched, typed, echo, status = "", 0, list(task["typed"]), None, None
deadline = time.monotonic() + 60
while time.monotonic() < deadline:
    if terminal is not None and select.select([terminal], [], [], 0.05)[0]:
        try:
            shown += os.read(terminal, 65536).decode(errors="replace")
        except OSError:
            # Nobody has the terminal open any more.
            if status is not None:
                break
            time.sleep(0.02)
    elif status is not None:
        break
    if typed and typed[0][0] in shown[searched:]:
        searched = shown.index(typed[0][0], searched) + len(typed[0][0])
        _, text = typed.pop(0)
        if text is None:
            os.close(terminal)
            terminal = None
        else:
            os.write(terminal, text.encode())
    if status is None:
        done, code = os.waitpid(pid, os.WNOHANG)
        if done:
            status = code
            if terminal is not None:
                echo = bool(termios.tcgetattr(terminal)[3] & termios.ECHO)
    if terminal is None:
        time.sleep(0.05)
        if status is not None:
            break
if status is None:
    os.kill(pid, 9)
    os.waitpid(pid, 0)
code = None if status is None else os.waitstatus_to_exitcode(status)
print(json.dumps({"code": code, "shown": shown, "echo": echo}))
