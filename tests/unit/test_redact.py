"""What is logged of a configuration holds no secret."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.config.load import build_config
from safeguard_spark.redact import HIDDEN, redacted, without_password

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("https://user:pass@host:5000/mlflow", "https://host:5000/mlflow"),
        ("postgresql://user@host/db", "postgresql://host/db"),
        ("postgresql://user:p/a@s:s@host/db", "postgresql://host/db"),
        ("sqlite:////home/a@b/mlflow.db", "sqlite:////home/a@b/mlflow.db"),
        ("databricks", "databricks"),
        ("http://host:5000", "http://host:5000"),
        ("no store at mysql://u:p@h/d here", "no store at mysql://h/d here"),
    ],
)
def test_a_uri_is_shown_without_what_stands_before_its_host(uri: str, said: str) -> None:
    assert without_password(uri) == said


@given(st.text("abc:/@%", min_size=1, max_size=12).filter(lambda text: text[0] != "/"))
def test_no_password_passes_whatever_it_is_made_of(password: str) -> None:
    assert without_password(f"db://user:{password}SECRET@host/x") == "db://host/x"


def test_a_configuration_is_shown_without_its_secrets_and_otherwise_as_it_is() -> None:
    settings = {
        "engine": {
            "kind": "scripted",
            "api_key_env": "MY_KEY",
            "env": {"HF_TOKEN": "sesame", "VLLM_CPU_KVCACHE_SPACE": "1"},
            "args": {"tokenizer": "a/b", "max_num_seqs": 8, "hf_token": "sesame", "deep": [{"password": "sesame"}]},
        },
        "spark": {"conf": {"spark.hadoop.fs.s3a.secret.key": "sesame", "spark.sql.shuffle.partitions": "8"}},
        "tracking": {"uri": "https://me:sesame@mlflow.example.org"},
    }
    resolved = build_config(settings)
    said = redacted(resolved.model_dump(mode="json"))
    assert "sesame" not in str(said)
    assert said["engine"]["env"] == {"HF_TOKEN": HIDDEN, "VLLM_CPU_KVCACHE_SPACE": "1"}
    assert said["engine"]["args"] == {
        "tokenizer": "a/b", "max_num_seqs": 8, "hf_token": HIDDEN, "deep": [{"password": HIDDEN}],
    }  # fmt: skip
    assert said["spark"]["conf"] == {"spark.hadoop.fs.s3a.secret.key": HIDDEN, "spark.sql.shuffle.partitions": "8"}
    assert said["tracking"]["uri"] == "https://mlflow.example.org"
    without = build_config({"engine": {"kind": "scripted", "api_key_env": "MY_KEY"}}).model_dump(mode="json")
    assert redacted(without) == {**without, "policy": []}
