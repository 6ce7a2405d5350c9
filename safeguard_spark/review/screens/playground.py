"""Try: what one or two policy versions make of a content, with the engine of the configuration."""

import secrets
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safeguard_spark.authoring.prompt_output import prompt_text
from safeguard_spark.engines.factory import open_engine
from safeguard_spark.errors import SafeguardError
from safeguard_spark.labelling.content import from_text
from safeguard_spark.labelling.rows import LabelSpec, Row, label_rows, prepare
from safeguard_spark.labelling.verdict import Verdict
from safeguard_spark.policy.document import Policy
from safeguard_spark.policy.layout import policy_refs
from safeguard_spark.review.console import Console, console_of, field, page, refuse, user_of
from safeguard_spark.review.screens.search import FOR_AUTHORS


async def try_content(request: Request) -> Response:
    """The form, and once it was sent what each version says. Nothing is kept."""
    console = console_of(request)
    if not user_of(request).may_author:
        return refuse(request, FOR_AUTHORS)
    refs = policy_refs(console.config.policies)
    content, problem, results = field(request, "content"), "", list[dict[str, Any]]()
    chosen = [ref for ref in (field(request, "one"), field(request, "other")) if ref]
    if request.method == "POST":
        policies = [console.policy(*ref.split("@", 1)) for ref in chosen if ref in refs]
        readable = [policy for policy in policies if policy is not None]
        if not content.strip() or not chosen or len(readable) != len(chosen):
            problem = "Paste a content and choose a policy version that can be read."
        else:
            try:
                results = await run_in_threadpool(_answers, console, readable, content)
            except SafeguardError as error:
                problem = str(error)
    engine = console.config.engine
    return page(
        request, "playground.html", status=422 if problem else 200, refs=refs, chosen=[*chosen, "", ""][:2],
        content_text=content, results=results, problem=problem, engine=f"{engine.kind}, {engine.name}",
    )  # fmt: skip


def _answers(console: Console, policies: list[Policy], text: str) -> list[dict[str, Any]]:
    """The answer of each policy. One thread at a time uses an engine. Raises SafeguardError."""
    config, content = console.config, from_text(text)
    results = []
    with (
        console.engine_lock,
        open_engine(config.engine, run_id=f"try-{secrets.token_hex(4)}", window=2, devices=[], at_desk=True) as engine,
    ):
        for policy in policies:
            spec = LabelSpec.of(config, policy)
            prepared = prepare(spec, content)
            (labelled,) = label_rows(spec, engine, [Row(0, content)])
            results.append(
                {
                    "policy": policy.ref,
                    "labeler": spec.labeler.name,
                    "verdict": labelled.verdict,
                    "completion": labelled.completion,
                    "prompt": None if isinstance(prepared, Verdict) else prompt_text(prepared),
                }
            )
    return results


routes = [Route("/try", try_content, methods=["GET", "POST"])]
