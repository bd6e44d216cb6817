"""MAESTRO from a server: the performances of some years, fetched from the whole archive by byte ranges.

What arrives is kept beside the output (`depot.py`) until all is there, because DVC empties the output
before every run; then it is moved there, so that nothing is stored twice.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from threading import Lock

from tqdm import tqdm

from diffsynth.config import build
from diffsynth.datasets.maestro.dataset import LICENSE, TABLE, Years
from diffsynth.datasets.maestro.files import (
    copy,
    describe_all,
    digest,
    explained_if_full,
    free_space,
    link,
    require_space,
)
from diffsynth.datasets.maestro.http_ranges import ChangedError, Patience, Remote
from diffsynth.datasets.maestro.partial_files import Depot, fetch_member
from diffsynth.datasets.maestro.plan import DownloadPlan, Release, archive_address, make_plan, survey
from diffsynth.datasets.maestro.remote_zip import DamagedError, Member
from diffsynth.datasets.manifest import (
    MANIFEST,
    Manifest,
    Performance,
    SetAside,
    read_manifest,
    write_manifest,
)
from diffsynth.datasets.source import Means
from diffsynth.errors import UserError
from diffsynth.runs.files import atomic_folder, read_json, write_json

ROUNDS = 3  # lists of an archive that changes, or arrives damaged
KEPT = "; what has arrived is kept, and the same command goes on from there"


def fetch_maestro(
    url: str, years: Years, out: Path, means: Means, patience: Patience | None = None
) -> Manifest:
    """Fill a folder with the years wanted, at the paths of the archive, going on with an earlier try.

    Args:
        url: folder of the archive on a server.
        years: wanted.
        out: folder to write; it appears or is replaced when all is there.
        means: `earlier` files are copied if they are among those wanted.
        patience: with the network.

    Raises:
        UserError: wrong years, no room, no network, or a server that cannot do it; says what to do.
    """
    depot, patience = Depot(out), patience or Patience()
    with depot.locked(), explained_if_full(depot.root, KEPT):
        known = any(name.endswith(TABLE) for name in means.earlier)
        if not depot.release.exists() and not known and not _brought_before(out):
            means.say(LICENSE)
        problem: Exception | None = None
        for _ in range(ROUNDS):
            archive = Remote(archive_address(url), patience, means.say)
            try:
                manifest = _round(archive, url, years, depot, out, means, patience)
            except (ChangedError, DamagedError) as error:
                problem = error
                depot.release.unlink(missing_ok=True)
                if isinstance(error, ChangedError):
                    depot.tidy()
                means.say(f"{_words(error)}: asking for the list again")
                continue
            depot.remove()
            return manifest
        raise UserError(f"{archive.url}: {_words(problem)}, {ROUNDS} times in a row{KEPT}") from problem


def plan_maestro(
    url: str, years: Years, out: Path, means: Means, patience: Patience | None = None
) -> list[str]:
    """Lines that say what `fetch_maestro` would do; writes nothing.

    Raises:
        UserError: as there, except for the disk.
    """
    depot, patience = Depot(out), patience or Patience()
    archive = Remote(archive_address(url), patience, means.say)
    try:
        release = _known(depot, archive.url) or survey(archive, url, patience, means.say)
    except (ChangedError, DamagedError) as error:
        raise UserError(f"{archive.url}: {_words(error)}; try again") from error
    return make_plan(release, years, depot, means.connections).lines(free_space(depot.root))


def _round(
    archive: Remote,
    url: str,
    years: Years,
    depot: Depot,
    out: Path,
    means: Means,
    patience: Patience,
) -> Manifest:
    """Fetch what is missing according to one list of the archive, check everything, and hand it over."""
    release = _known(depot, archive.url)
    if release is None:
        release = survey(archive, url, patience, means.say)
        plan = make_plan(release, years, depot, means.connections)
        _take_over(plan, depot, out, means.earlier)
        write_json(depot.release, asdict(release))
    plan = make_plan(release, years, depot, means.connections)
    try:
        require_space(depot.root, plan.room)
    except UserError:
        depot.release.unlink()  # its sizes have no checksum: the next try asks for them again
        raise
    _fetch_all(archive, release, plan, depot, means.connections, means.progress)
    performances, set_aside = _check(plan, depot, means.workers, means.progress)
    manifest = Manifest("maestro", performances, sorted([*plan.set_aside, *set_aside], key=lambda s: s.name))
    _publish(manifest, plan, release, depot, out)
    return manifest


def _known(depot: Depot, url: str) -> Release | None:
    """The list that an earlier try left, if it is of the same archive."""
    release: Release | None = None
    with suppress(UserError):
        release = build(Release, read_json(depot.release), str(depot.release))
    return release if release and release.url == url else None


def _brought_before(out: Path) -> bool:
    with suppress(UserError):
        return read_manifest(out).dataset == "maestro"
    return False


def _take_over(plan: DownloadPlan, depot: Depot, out: Path, earlier: Mapping[str, Path]) -> None:
    """Sort out what is in the depot from an archive of another version; add what lies elsewhere."""
    for member in plan.members:
        mine = depot.file(member.name)
        if depot.has(member) and digest(mine)[1] != member.crc:
            mine.unlink()
        if depot.has(member):
            continue
        mine.unlink(missing_ok=True)
        if _is(out / member.name, member):
            link(out / member.name, mine)
        elif member.name in earlier and _is(earlier[member.name], member):
            copy(earlier[member.name], mine)


def _is(path: Path, member: Member) -> bool:
    return path.is_file() and path.stat().st_size == member.size and digest(path)[1] == member.crc


def _fetch_all(
    archive: Remote, release: Release, plan: DownloadPlan, depot: Depot, connections: int, progress: bool
) -> None:
    """Bring all missing members into the depot, several at once."""
    bar = tqdm(
        desc="fetching",
        total=plan.total,
        initial=plan.arrived,
        unit="B",
        unit_scale=True,
        disable=None if progress else True,
    )
    lock = Lock()

    def advance(count: int) -> None:
        with lock:
            bar.update(count)

    def fetch(member: Member) -> None:
        fetch_member(archive, release.stamp, member, depot, plan.chunk, advance)

    with bar, ThreadPoolExecutor(connections) as pool:
        try:
            for done in as_completed([pool.submit(fetch, member) for member in plan.missing]):
                done.result()
        except UserError as error:
            raise UserError(f"{error}{KEPT}") from error
        finally:
            # After a success all threads have ended, and this does nothing.
            archive.stop()
            pool.shutdown(cancel_futures=True)


def _check(
    plan: DownloadPlan, depot: Depot, workers: int, progress: bool
) -> tuple[list[Performance], list[SetAside]]:
    """Read everything once more, for the manifest and to find what was changed since it arrived.

    Raises:
        DamagedError: something was; it is removed.
    """
    checksums = {member.name: member.crc for member in plan.members}
    folder = depot.file("")
    performances, set_aside, wrong = describe_all(
        folder, plan.prefix, plan.rows, checksums, workers, progress
    )
    described = {plan.prefix + path for row in plan.rows for path in (row.midi, row.audio)}
    others = [name for name in checksums if name not in described]
    wrong += [name for name in others if digest(folder / name)[1] != checksums[name]]
    for name in wrong:
        (folder / name).unlink()
    if wrong:
        raise DamagedError(f"{wrong[0]} was changed after it had arrived")
    return performances, set_aside


def _publish(manifest: Manifest, plan: DownloadPlan, release: Release, depot: Depot, out: Path) -> None:
    """Make the output of the depot's files, whole."""
    with atomic_folder(out, MANIFEST) as folder:
        for member in plan.members:
            link(depot.file(member.name), folder / member.name)
        table = folder / plan.prefix / TABLE
        if not table.exists():
            table.write_bytes(release.table.encode("utf8"))
        write_manifest(folder, manifest)


def _words(error: Exception | None) -> str:
    return str(error) or "the archive was replaced by another while it was fetched"
