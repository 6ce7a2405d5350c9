"""What is logged of a configuration has no secrets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.config.load import build_config
from safeguard_spark.redact import HIDDEN, redacted, without_password

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("uri", "redacted_uri"),
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
def test_a_uri_loses_everything_before_its_host(uri: str, redacted_uri: str) -> None:
    assert without_password(uri) == redacted_uri


@given(st.text("abc:/@%", min_size=1, max_size=12).filter(lambda text: text[0] != "/"))
def test_any_password_is_removed(password: str) -> None:
    assert without_password(f"db://user:{password}SECRET@host/x") == "db://host/x"


def test_a_configuration_loses_its_secrets_and_nothing_else() -> None:
    settings = {
        "engine": {
            "kind": "vllm",
            "model": "m",
            "env": {"HF_TOKEN": "sesame", "VLLM_CPU_KVCACHE_SPACE": "1"},
            "args": {"tokenizer": "a/b", "max_num_seqs": 8, "hf_token": "sesame", "deep": [{"password": "sesame"}]},
        },
        "spark": {"conf": {"spark.hadoop.fs.s3a.secret.key": "sesame", "spark.sql.shuffle.partitions": "8"}},
        "tracking": {"uri": "https://me:sesame@mlflow.example.org"},
    }
    resolved = build_config(settings)
    logged = redacted(resolved.model_dump(mode="json"))
    assert "sesame" not in str(logged)
    assert logged["engine"]["env"] == {"HF_TOKEN": HIDDEN, "VLLM_CPU_KVCACHE_SPACE": "1"}
    assert logged["engine"]["args"] == {
        "tokenizer": "a/b", "max_num_seqs": 8, "hf_token": HIDDEN, "deep": [{"password": HIDDEN}],
    }  # fmt: skip
    assert logged["spark"]["conf"] == {"spark.hadoop.fs.s3a.secret.key": HIDDEN, "spark.sql.shuffle.partitions": "8"}
    assert logged["tracking"]["uri"] == "https://mlflow.example.org"
    mistaken = {"api_key_env": "gsk_sesame", "token_env": "sk-sesame", "key_env": "OUR_KEY"}
    assert redacted(mistaken) == {"api_key_env": HIDDEN, "token_env": HIDDEN, "key_env": "OUR_KEY"}
    without = build_config(
        {"engine": {"kind": "endpoint", "url": "http://a", "model": "m", "api_key_env": "MY_KEY"}}
    ).model_dump(mode="json")
    assert redacted(without) == {**without, "policy": []}
