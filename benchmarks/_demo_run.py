"""Runs the notebook of the demonstration, tells the terminal where it is, and turns it into a page."""

from __future__ import annotations

import asyncio
import os
import sys
import textwrap
import threading
import time
from typing import TYPE_CHECKING, Any

from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TextIO

    from nbformat import NotebookNode

MINUTES = 60
INDENT = " " * 9
#: Seconds after which a step says how long it took, and after which it says that it is still at it (no terminal).
LONG, PATIENCE = 5, 30
#: Size of bars of progress, with which they fit a terminal of 80 columns behind what stands before them.
BAR = {"TQDM_NCOLS": "62", "TQDM_NROWS": "20"}
#: What is told instead of the names of bars of progress, where no bar can move.
STAGES = {"Reading windows": "window networks", "Training": "epochs over the cells"}
#: What a step does before its first bar, and after a bar, where no other follows at once.
FIRST = {"Training": "states of the cells from their chromatin"}
NEXT = {"Reading windows": "weights of the peaks in every window"}
#: Seconds to wait for the end of the notebook's own process.
FAREWELL = 15
#: What the page would fetch from elsewhere: require.js, MathJax, Mermaid. No output of the notebook needs them.
NEEDLESS = ("html_head_js_requirejs", "html_head_js_mathjax", "html_head_js_mermaidjs", "jupyter_widgets")


class Teller:
    """Says which step runs, since when, and what it prints; on a terminal the last line keeps moving."""

    def __init__(self, stream: TextIO | None = None):
        self._stream = stream or sys.stdout
        self._live = self._stream.isatty()
        self._lock = threading.Lock()
        self._begin = self._since = self._told = time.perf_counter()
        self._step: str | None = None
        self._state = self._stage = self._bar = ""

    def start(self, step: str) -> None:
        """Begin a step."""
        with self._lock:
            self._finish()
            self._step, self._since = step, time.perf_counter()
            self._told, self._state, self._stage, self._bar = self._since, "", "", ""
            self._line(f"[{self._since - self._begin:4.0f} s] {step}")
            if step in FIRST:
                self._enter(FIRST[step])

    def finish(self, *, failed: bool = False) -> None:
        """End the last step; one that failed is not done."""
        with self._lock:
            self._finish("failed after" if failed else "done in")

    def say(self, text: str) -> None:
        """Pass on what a step printed."""
        with self._lock:
            for line in text.splitlines():
                self._line(textwrap.fill(line, 110, initial_indent=INDENT, subsequent_indent=INDENT))

    def progress(self, text: str) -> None:
        """Take the newest state of a bar of progress; where no bar can move, say once what it is about.

        A bar that ends with a line break is over: what follows has none, and is named by its place.
        """
        with self._lock:
            if self._step is None:
                return
            for state in filter(str.strip, text.replace("\n", "\r").split("\r")):
                self._state = state.strip()
                bar, found, _ = self._state.partition(":")
                if found:
                    self._bar = bar
                    self._enter(STAGES.get(bar, bar))
            if "\n" in text.rpartition("\r")[2]:
                self._state = ""
                self._enter(NEXT.get(self._bar, ""))

    def beat(self) -> None:
        """Show that the step goes on; called every second."""
        now = time.perf_counter()
        with self._lock:
            if self._step is None:
                return
            seconds, doing = now - self._since, self._state or self._stage
            if self._live:
                self._stream.write(f"\r\033[K{INDENT}{seconds:.0f} s  {doing or self._step}"[:110])
                self._stream.flush()
            elif now - self._told >= PATIENCE:
                self._told = now
                self._line(f"{INDENT}{self._step} goes on: {seconds:.0f} s{'; ' * bool(doing)}{doing}")

    def _enter(self, stage: str) -> None:
        """Note which part of the step runs, and say so once where no line can move."""
        if stage and stage != self._stage and not self._live:
            self._line(f"{INDENT}{self._step}: {stage} ...")
        self._stage = stage

    def _finish(self, how: str = "done in") -> None:
        seconds = time.perf_counter() - self._since
        if self._step is not None and seconds >= LONG:
            self._line(f"{INDENT}{how} {seconds:.0f} s")
        elif self._live:
            self._line("", end="")
        self._step = None

    def _line(self, text: str, end: str = "\n") -> None:
        """Write a line in place of the moving one."""
        self._stream.write(("\r\033[K" if self._live else "") + text + end)
        self._stream.flush()


class _Client(NotebookClient):
    """Shows what cells print while they run; bars of progress go to the terminal and not into the notebook."""

    teller: Teller

    def output(
        self, outs: list[NotebookNode], msg: dict[str, Any], display_id: str | None, cell_index: int
    ) -> NotebookNode | None:
        if msg["msg_type"] == "stream":
            name, text = msg["content"]["name"], msg["content"]["text"]
            if name == "stderr" and ("\r" in text or not text.strip()):
                self.teller.progress(text)
                return None
            if name == "stdout":
                self.teller.say(text)
        return super().output(outs, msg, display_id, cell_index)


def execute(notebook: NotebookNode, folder: Path, teller: Teller) -> None:
    """Run the notebook in a folder with the Python of this process.

    It runs in a thread of its own, so that the main thread can show that it goes on and be stopped by a signal; then the notebook's
    process is ended at once. Raises nbclient's `CellExecutionError` when a cell fails.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    ended, stopped = threading.Event(), threading.Event()
    future = asyncio.run_coroutine_threadsafe(_execute(notebook, folder, teller, ended=ended, stopped=stopped), loop)
    failed = True
    try:
        while not ended.wait(1):
            teller.beat()
        future.result(FAREWELL)
        failed = False
    finally:
        stopped.set()
        future.cancel()
        ended.wait(FAREWELL)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(FAREWELL)
        if not loop.is_running():
            loop.close()
        teller.finish(failed=failed)


async def _execute(
    notebook: NotebookNode, folder: Path, teller: Teller, *, ended: threading.Event, stopped: threading.Event
) -> None:
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    def tell(cell: NotebookNode, **_: Any) -> None:
        step = cell.metadata.get("step")
        if cell.cell_type == "code" and step:
            teller.start(step)

    try:
        # the kernel of this environment, whatever kernels the user has installed elsewhere
        manager = AsyncKernelManager(
            kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[], ensure_native_kernel=True)
        )
        client = _Client(
            notebook,
            km=manager,
            timeout=240 * MINUTES,
            extra_arguments=["--log-level=ERROR"],
            resources={"metadata": {"path": str(folder)}},
            on_cell_execute=tell,
            shutdown_kernel="immediate",
        )
        client.teller = teller
        # the kernel's manager is ours; bars have one width, whatever size the terminal says it has
        await client.async_execute(cleanup_kc=True, env={**os.environ, **BAR})
    except DeadKernelError:
        if not stopped.is_set():
            raise
    finally:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        ended.set()


def to_html(notebook: NotebookNode) -> str:
    """Turn the executed notebook into one page that needs no other file and no network."""
    from jinja2 import DictLoader
    from nbconvert import HTMLExporter

    blocks = "".join(f"{{% block {name} %}}{{% endblock %}}" for name in NEEDLESS)
    plain = DictLoader({"plain.html.j2": f"{{% extends 'lab/index.html.j2' %}}{blocks}"})
    exporter = HTMLExporter(embed_images=True, template_file="plain.html.j2", extra_loaders=[plain])
    page, _ = exporter.from_notebook_node(notebook)
    return page
