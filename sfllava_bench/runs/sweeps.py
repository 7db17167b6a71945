"""A list of plans, run one after another: what is done is skipped, what fails is named, and one table is made of it."""

from collections.abc import Callable
from pathlib import Path

from sfllava_bench.scores.chat import Judge
from sfllava_bench.reports.compare import Made, compare, first_alike, read_made
from sfllava_bench.answers.journal import answers_fingerprint
from sfllava_bench.runs.plans import Plan
from sfllava_bench.runs.preflight import check_plans
from sfllava_bench.runs.reproduce import FAILS, fingerprints, finished, load_model, reproduce
from sfllava_bench.reports.tables import write_table
from sfllava_bench.answers.surroundings import host_at_fault
from sfllava_bench.answers.together import answer_together, can_share
from sfllava_core.video.reading import DEFAULT_TIMEOUT_S


def sweep(
    plans: list[Plan],
    out: str | Path = "runs",
    *,
    together: bool = False,
    judge: Judge | None = None,
    load: Callable[[str], object] | None = None,
    allow_missing: bool = False,
    retry_failed: bool = False,
    one_by_one: int = 0,
    follow_links: bool = False,
    batch: int = 16,
    workers: int = 2,
    ahead: int = 4,
    timeout_s: float | None = DEFAULT_TIMEOUT_S,
    progress: bool = True,
    say: Callable[[str], None] = print,
) -> list[dict]:
    """Run a list of plans; what is done is skipped, what fails is named and the others go on. Builds one table.

    A run on the same questions as an earlier one of the list is compared with that, question by question.

    Writes out/table.json and out/table.html. Each model is loaded once, where plans of one model follow each other.

    Args:
        together: plans of one model and one folder of videos are answered film by film, each film decoded and encoded
            once for all of them (together.py); the answers are the same, the seconds of a film are split evenly. Not
            with `one_by_one`.
        The others: as in `reproduce`.

    Returns:
        The table's rows: each run's metrics, or its error.

    Raises:
        HostError: the machine is at fault, so that the others would fail alike; the same again goes on.
    """
    rows: list[dict] = []
    made: list[Made] = []
    options = {
        "judge": judge, "load": keep_last(load or load_model), "allow_missing": allow_missing,
        "retry_failed": retry_failed, "follow_links": follow_links, "batch": batch, "workers": workers, "ahead": ahead,
        "timeout_s": timeout_s, "progress": progress, "say": say,
    }  # fmt: skip
    if together and can_share(plans) and not one_by_one:
        try:
            answer_ahead(plans, Path(out), **options)
        except FAILS as error:  # what is missing is named again below, plan by plan
            say(f"not answered together: {error}")
    for plan in plans:
        try:
            table_rows = reproduce(plan, out, one_by_one=one_by_one, **options).rows()
        except FAILS as error:
            rows.append({"run": plan.id, "benchmark": plan.benchmark, "metric": f"{type(error).__name__}: {error}"})
            continue
        if not table_rows:
            rows.append({"run": plan.id, "benchmark": plan.benchmark, "metric": "answered, not judged: name a judge"})
            continue
        made.append(read_made(plan, out))
        against = first_alike(made)
        text = None if against is None else compare(made[-1], against)
        rows += [{**row, "against": None if place else text} for place, row in enumerate(table_rows)]
    with host_at_fault():
        write_table(rows, Path(out))
    return rows


@host_at_fault()
def answer_ahead(
    plans: list[Plan],
    out: Path,
    *,
    judge: Judge | None,
    load: Callable[[str], object],
    allow_missing: bool,
    retry_failed: bool,
    follow_links: bool,
    say: Callable[[str], None],
    **running: object,
) -> None:
    """Answer what is left of plans that share their films; the loop of `sweep` then finds it answered.

    running: batch, workers, ahead, timeout_s, progress of `answer_together`.

    Raises:
        PreflightError: something is missing; nothing was begun.
    """
    asked = [(plan, plan.questions()) for plan in plans]
    done = [finished(out / p.id / "results.json", fingerprints(p, q, judge, 0), retry_failed) for p, q in asked]
    asked = [one for one, state in zip(asked, done) if not state]
    if len(asked) < 2:
        return
    check_plans([plan for plan, _ in asked], judge, out=out, follow_links=follow_links).require(allow_missing)
    llm, alike = load(plans[0].model), {}
    for plan, questions in asked:  # what asks the very same is answered once; `reproduce` takes it over
        alike.setdefault(answers_fingerprint(plan.settings.record(questions, llm)), plan)
    answer_together(llm, list(alike.values()), out, retry_failed=retry_failed, say=say, **running)


def keep_last(load: Callable[[str], object]) -> Callable[[str], object]:
    """A loader that gives the same model again while its name does not change."""
    kept: list[tuple[str, object]] = []

    def loaded(name: str) -> object:
        if not kept or kept[0][0] != name:
            kept.clear()  # make room first
            kept.append((name, load(name)))
        return kept[0][1]

    return loaded
