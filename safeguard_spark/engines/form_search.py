"""Form search: in which form a server takes the requests of a labeler.

It is found on one request, while the others wait, and kept for the run.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from typing import TypeAlias

from safeguard_spark.config.engine import Dialect
from safeguard_spark.engines import protocol
from safeguard_spark.engines.failures import FailureKind, RequestFailure, Scope
from safeguard_spark.engines.protocol import Form
from safeguard_spark.engines.timings import Timings
from safeguard_spark.engines.transport import Transport
from safeguard_spark.labelling.engine import CallSpec
from safeguard_spark.labelling.labeler import Labeler
from safeguard_spark.labelling.prompt import Prompt
from safeguard_spark.labelling.verdict import Completion
from safeguard_spark.policy.document import Output

FormKey: TypeAlias = tuple[Labeler, Output, bool]
log = logging.getLogger(__name__)


class FormSearch:
    """The search of one client. `forms` are the forms found so far, `ended` is set whenever one search has ended.

    `note_answer` is told of an answer to a request that is no row's.
    """

    def __init__(
        self,
        transport: Transport,
        forms: dict[FormKey, Form],
        run_id: str,
        display: str,
        timings: Timings,
        note_answer: Callable[[Completion | RequestFailure], None],
    ) -> None:
        self._transport, self._forms, self._timings = transport, forms, timings
        self._run_id, self._display, self._note_answer = run_id, display, note_answer
        self.ended = asyncio.Event()

    async def send(self, spec: CallSpec, prompt: Prompt) -> Completion | RequestFailure:
        """Send a prompt in the first form that the server takes, and keep that form for all later requests.

        If it is refused, a control prompt is sent instead, so that no content has a part in it.
        """
        candidates = protocol.forms(spec)
        control = protocol.control_prompt(spec, prompt)
        tried, missing = set[Form](), set[str]()
        form, current, refusal = candidates[0], prompt, None
        doubtful: Form | None = None  # refused with the content and no field named, so maybe for the content's sake
        while True:
            result = await self._post_first(form, spec, current)
            tried.add(form)
            if isinstance(result, Completion) or result.kind.scopes == (Scope.row,):
                break
            if form_key(spec) in self._forms:  # others are sent in this form by now
                return result
            if result.kind in (FailureKind.not_found, FailureKind.forbidden):
                missing.add(form.path)
                if {candidate.path for candidate in candidates} <= missing:
                    return result
            elif result.kind is not FailureKind.bad_request:
                return result
            else:
                refusal = result
                if current != control and result.param is None:
                    doubtful = form
                current = control
            remaining = [other for other in candidates if other not in tried and other.path not in missing]
            hinted = form.without(refusal.param) if refusal and refusal.param else form
            if len(tried) >= len(candidates) or not remaining:
                break
            form = hinted if hinted not in tried and hinted.path not in missing else remaining[0]
        # Others were refused without the content too: then it was not for the content's sake.
        if doubtful and (form == doubtful or _is_answer(result)):
            again = await self._post_first(doubtful, spec, control)
            if _is_answer(again):
                form, result = doubtful, again
        if isinstance(result, RequestFailure) and not _is_answer(result):
            return _refused(refusal or result, spec.labeler.dialect, [])
        if settings := form.settings_to_change(spec):
            return _refused(refusal or RequestFailure(FailureKind.bad_request, ""), spec.labeler.dialect, settings)
        self.keep(spec, form)
        if current == prompt:
            return result
        self._note_answer(result)
        return await self._transport.post(form, spec, prompt)

    async def _post_first(self, form: Form, spec: CallSpec, prompt: Prompt) -> Completion | RequestFailure:
        """POST in a form that may be refused. One that the server has not refused for a while, it has taken."""
        post = asyncio.ensure_future(self._transport.post(form, spec, prompt))
        try:
            await asyncio.wait({post}, timeout=self._timings.accepted_s)
            if not post.done():
                self._note_silence()
                if not form.settings_to_change(spec):
                    self.keep(spec, form)
            return await post
        finally:
            post.cancel()

    def _note_silence(self) -> None:
        is_waited_for = self._timings.first_answer_s < math.inf  # by a person, who sees no bar
        log.log(
            logging.WARNING if is_waited_for else logging.INFO,
            "Run %s: %s took the first request %g s ago and has not answered it. A model that loads or thinks may take "
            "minutes; a server that hangs never answers (the limit is engine.deadline_s).",
            self._run_id, self._display, self._timings.accepted_s,
        )  # fmt: skip

    def keep(self, spec: CallSpec, form: Form) -> None:
        """Send all later requests in this form."""
        if self._forms.setdefault(form_key(spec), form) is form:
            differs = " (not the usual form)" if form != protocol.forms(spec)[0] else ""
            log.info("Run %s: requests to %s are sent as %s%s.", self._run_id, self._display, form, differs)
        self.ended.set()


def _is_answer(result: Completion | RequestFailure) -> bool:
    return isinstance(result, Completion) or result.kind.scopes == (Scope.row,)


def form_key(spec: CallSpec) -> FormKey:
    """What decides about the form of a request."""
    return spec.labeler, spec.contract.output, spec.glance is not None


def _refused(refusal: RequestFailure, dialect: Dialect, settings: list[str]) -> RequestFailure:
    """The failure of a search for a form. `settings` are those under which the server takes one."""
    if settings:
        remedy = f"set {', '.join(settings)}, which is another labeler"
    elif dialect is Dialect.harmony:
        remedy = "check engine.model; a server that takes no token ids needs engine.dialect=chat"
    else:
        remedy = "check engine.model and what the server says to one request sent with curl"
    return RequestFailure(FailureKind.refused_form, refusal.cause, remedy=remedy)
