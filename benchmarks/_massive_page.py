"""`docs/scale.md` from the results of `python -m benchmarks massive`: the same figures, with the arithmetic between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import _massive_scale

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
TEXT = """\
# What 100 million cells would cost

[Collections](user_guide/collections.md) are built and read in blocks. This page carries what was measured at {cells:,} cells x {genes:,} genes
([benchmark page](benchmarks.md), "Massive collections", which has the same figures) over to 100 million cells.
**Nothing of that size was run, and no GPU was measured.** It is made from the results by `python -m benchmarks tables`.

Taken: 30,000 genes of which 2,000 are above zero in a cell, so 2 x 10¹¹ entries. Costs of counts grow with entries: {millions:,.0f} million were
measured, so the factor is {factor:,.0f}.

## Disk

| what | arithmetic | gives |
|---|---|---|
| the collection | {bytes_mb:,.0f} MB / {millions:,.0f} million = {bytes_an_entry:.2f} bytes an entry x 2 x 10¹¹ | {on_disk_gb:,.0f} GB |
| blocks, while it is built | 4 bytes an entry (places and counts of 16 bits or less) + 100 bytes a cell | {while_built_gb:,.0f} GB |

An entry is 12 bytes in memory as scipy keeps it with 64-bit values, 8 with 32-bit ones.

## Building

| what | arithmetic | gives |
|---|---|---|
| both passes over the counts | {build_seconds:.1f} processor seconds / {millions:,.0f} million = {build_ns:.0f} ns an entry x 2 x 10¹¹ | {passes_h:.1f} h |
| finding the parts of a shard in all blocks | {blocks:,.0f} blocks x {shards:,.0f} shards x {a_part_us:.0f} µs | {parts_h:.1f} h |

The first grows with the number of entries. The second grows with its square: every shard takes a part out of every block. At a million
cells it is less than a tenth of a second; the time of one part was measured by a simulation of such a pass, with parts that hold next to nothing.
Blocks four times as large would take it to {parts_large_h:.1f} h, for four times the memory. One process builds: these are hours of one core.

Memory is that of a block and of a shard: {build_peak_gb:.1f} GB at {cells:,} cells, and about as much beyond. Looking for duplicates holds the keys of
two sets of genes at once, 16 bytes a cell and as much again to sort them: 3 GB where all 100 million cells have the same genes.

## An epoch

| what | arithmetic | gives |
|---|---|---|
| reading | {epoch_seconds:.1f} processor seconds / {millions:,.0f} million = {read_ns:.1f} ns an entry x 2 x 10¹¹ | {reading_h:.2f} core-hours |
| training the count VAE on one core (at {genes:,} genes) | 10⁸ / {train_rate:,.0f} cells a second | {training_h:.1f} h |

Reading goes on beside the training, so an epoch takes the longer of the two. With GPUs, and eight cores beside each that read:

| GPUs | a GPU trains, assumed | training | reading | an epoch |
|---|---|---|---|---|
{epochs}

What this leaves out: the reader of our own uses one thread and those of zarr, and was measured on two cores, so the division by eight is an assumption
(annbatch, which reads where it is installed, decompresses in parallel); the disk must deliver {on_disk_gb:,.0f} GB an epoch, {disk_rate:.1f} GB a second at {shortest_h:.2f} h; and for eight
GPUs, that averaging gradients takes no time. Several processes train together by `train(devices=8)`, each reading an eighth of the blocks; that was run on processors only.

## Memory of training

Counts do not count: blocks of 16,384 cells or 8 million entries are held, three at a time. What grows is kept for each cell: the words of its metadata,
a byte each, two numbers, and its places in the split and in the order of the epoch. Names are not held: cells of an opened collection are named by
their positions, and `to_adata` reads names from disk. From {few_cells:,} to {cells:,} cells a process grew from {few_gb:.2f} to {train_gb:.2f} GB ({growth:+.0%}), {bytes_a_cell:.0f} bytes a cell, so

{train_gb:.1f} GB + {bytes_a_cell:.0f} bytes x 10⁸ = {memory_gb:.0f} GB

at 100 million cells, for each process.{capsules}
"""
POSES = 3 * 30 * 4
CAPSULES = """

CapsuleNet also holds, between the parts of its training, the pose of each training cell, the same without what parts the batches, and this laid out over all cells: 3 x 30 numbers of 4 bytes,
{a_cell} bytes a cell and {memory:.0f} GB at 100 million. With labels and batches its peak was {few:.2f} and {many:.2f} GB at the two sizes; at the smaller one another phase makes it, so that their difference
is less than that. At {cells:,} cells two epochs leave no time for its last part, in which types are learned and nothing more is held."""


def write_page(document: dict[str, Any]) -> None:
    """Make the page again from a document of results."""
    PAGE.write_text(page(document))


def page(document: dict[str, Any]) -> str:
    """Give the page as Markdown."""
    f = _massive_scale.figures(document["measured"], document["simulated"])
    rows = _massive_scale.epochs(f)
    shortest = min(max(row["reading"], row["training"]) for row in rows if row["gpus"] == 1)
    return TEXT.format(
        **f,
        millions=f["ran"] / 1e6,
        factor=f["entries"] / f["ran"],
        bytes_mb=f["bytes"] / 1e6,
        on_disk_gb=f["on_disk"] / 1e9,
        while_built_gb=f["while_built"] / 1e9,
        build_ns=f["build_an_entry"] * 1e9,
        build_peak_gb=f["build_peak_mb"] / 1e3,
        passes_h=f["passes"] / 3600,
        a_part_us=f["a_part"] * 1e6,
        parts_h=f["parts"] / 3600,
        parts_large_h=f["parts"] / 16 / 3600,
        read_ns=f["read_an_entry"] * 1e9,
        reading_h=f["reading"] / 3600,
        training_h=f["training"] / 3600,
        epochs="\n".join(_epoch(row) for row in rows),
        disk_rate=f["on_disk"] / 1e9 / shortest,
        shortest_h=shortest / 3600,
        few_gb=f["few_peak_mb"] / 1e3,
        train_gb=f["train_peak_mb"] / 1e3,
        growth=f["train_peak_mb"] / f["few_peak_mb"] - 1,
        memory_gb=f["memory"] / 1e9,
        capsules=_capsules(document["measured"]),
    )


def _capsules(rows: list[dict[str, Any]]) -> str:
    """Give what CapsuleNet holds; nothing where it was not measured at two sizes."""
    row = rows[-1]
    found = [other for other in rows if other["genes"] == row["genes"] and "train_capsules" in other]
    if row not in found or len(found) < 2:
        return ""
    few, many = (other["train_capsules"]["peak_mb"] * 1e6 for other in (found[0], row))
    memory = POSES * _massive_scale.CELLS
    return CAPSULES.format(few=few / 1e9, many=many / 1e9, a_cell=POSES, memory=memory / 1e9, cells=row["cells"])


def _epoch(row: dict[str, float]) -> str:
    training, reading = row["training"] / 3600, row["reading"] / 3600
    return f"| {row['gpus']} | {row['rate']:,} cells a second | {training:.2f} h | {reading:.2f} h | {max(training, reading):.2f} h |"
