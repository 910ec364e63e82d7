"""Make a case ready to be stepped: device, variables, model, search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .case.entry import CaseError

if TYPE_CHECKING:
    from .session import Session
    from .stepping.state import Snapshot


def prepare(session: Session) -> None:
    """Choose the device, find the variables, build the model; the session can step then.

    Raises
    ------
    CaseError
        When there is no batch that passes through the model.
    """
    from .stepping.modes import detect_nan_on_gpu
    from .stepping.search import Search
    from .stepping.state import State
    from .stepping.stepper import Stepper

    _environment(session)
    session.state = State(session.case.restore)
    session.stepper = Stepper(session.case, session.state)
    flagged = detect_nan_on_gpu(session.stepper, session.device)
    session.elsewhere.extend([flagged] if flagged is not None else [])
    built = _build(session)
    session.search = Search(
        session.request, session.case, session.state, session.stepper, built, session.deadline,
        session.notes, session.channel.progress,
    )  # fmt: skip


def _build(session: Session) -> Snapshot:
    """Build the case on a batch; one batch of the wrong shape may be the failure itself.

    A recording holds no other batches than the last ones.
    """
    from .case.restore import BatchError, build
    from .stepping.stepper import EndOfData

    checkpoints = session.request["checkpoints"]
    begin = min(int(checkpoints[0]["step"]), session.request["observe_step"]) if checkpoints else 0
    refused = None
    recorded = session.case.recording.paths if session.case.recording is not None else ()
    for step in sorted({begin, 0, *list(recorded)[-1:]}, reverse=True):
        try:
            return build(session.case, session.state, session.stepper, session.stepper.batch(step))
        except EndOfData as error:
            if step == 0 and refused is None:
                raise CaseError("the case has no batch for step 0: %s" % error) from error
        except BatchError as error:
            refused = "batch %d does not pass through the model: %s" % (step, error)
    raise CaseError(str(refused))


def _environment(session: Session) -> None:
    from .keras_family import keras_api
    from .stepping import placement

    session.device = placement.choose(session.request["device"])
    session.answer["device"] = session.device
    keras = keras_api.describe([session.case.model, *session.case.restore.values()])
    session.answer["environment"] = placement.environment(session.device, keras)
    recording = getattr(session.case, "recording", None)
    then = recording.manifest.get("environment", {}) if recording is not None else {}
    other = placement.elsewhere(then.get("device"), session.device)
    if other is not None:
        session.notes.append(other)
