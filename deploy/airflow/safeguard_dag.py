"""Label every day, measure, and re-label by a plan that a person approved; compact the tables at the end.

Airflow 3 with `spark-submit` on its workers. Exit code 6 (some work is left) is tried again after a pause that grows;
2 to 4 (somebody must correct something) and 7 (a gate was not met) fail at once; 1 and 5 are tried again too.
Re-labelling is not tried again after 6: each try would have the whole budget. The next day's plan has what is left.
"""

import json
import subprocess
from datetime import datetime, timedelta

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException

CONF = "/etc/safeguard/conf.yaml"
SUBMIT = ["/opt/safeguard/deploy/yarn/submit.sh"]
FINAL = (2, 3, 4, 7)
RETRIES = {"retries": 5, "retry_delay": timedelta(minutes=5), "retry_exponential_backoff": True,
           "max_retry_delay": timedelta(hours=1)}  # fmt: skip


def run_job(job: str, *arguments: str, final: tuple[int, ...] = FINAL) -> dict[str, object]:
    """Run a job and return the object that it prints. Raises AirflowFailException where a retry cannot help."""
    done = subprocess.run([*SUBMIT, job, *arguments, "--config", CONF, "--json"], stdout=subprocess.PIPE, text=True)
    if done.returncode in final:
        raise AirflowFailException(f"{job}: exit code {done.returncode}; the task's log says who must act")
    if done.returncode:
        raise AirflowException(f"{job}: exit code {done.returncode}; it goes on where it stopped")
    return dict(json.loads(done.stdout.splitlines()[-1]))


with DAG(
    "safeguard",
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    params={"policy": "spam@1.2.0", "budget": "6h"},
    tags=["trust"],
) as dag:

    @task(**RETRIES)
    def label() -> str:
        """Label what is new."""
        return str(run_job("label")["run_id"])

    @task(**RETRIES)
    def evaluate() -> None:
        """Measure the active version; a gate that is not met ends the day here."""
        run_job("evaluate", "--policy", "spam@active", "--set", "spam-cases")

    @task(**RETRIES)
    def plan(params: dict[str, str]) -> str:
        """Plan to re-label under the next version. Labels nothing."""
        return str(run_job("relabel", "plan", "--policy", params["policy"])["plan_id"])

    approve = ApprovalOperator(
        task_id="approve",
        subject="Re-label by plan {{ ti.xcom_pull(task_ids='plan') }}?",
        body="The log of the task `plan` says what it changes and what it costs.",
        response_timeout=timedelta(hours=20),
    )

    @task(**RETRIES)
    def relabel(plan_id: str, params: dict[str, str]) -> None:
        """Label what the plan selects, within a budget."""
        run_job("relabel", "apply", plan_id, "--budget", params["budget"], "--carry", final=(*FINAL, 6))

    @task(**RETRIES, trigger_rule="none_failed")
    def maintain() -> None:
        """Compact small files, whether a plan was approved or not."""
        run_job("maintain", "optimize")

    planned = plan()  # type: ignore[call-arg]  # Airflow gives `params`
    label() >> evaluate() >> planned >> approve >> relabel(planned) >> maintain()  # type: ignore[call-arg]
