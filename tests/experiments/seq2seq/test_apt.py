"""Sources without the options that let unsigned ones pass, and checksums that were signed.

`test_debian_indices.py` runs apt itself.
"""

import hashlib

import pytest

from experiments.common.data import DataError
from experiments.seq2seq.apt import is_installed, require_signatures, verify

TEXT = b"Package: a\n"


@pytest.mark.skipif(not is_installed(), reason="this system has no apt")
def test_a_text_that_differs_from_the_signed_checksum_is_refused(tmp_path):
    path = tmp_path / "host_dists_stable_main_i18n_Translation-en"
    path.write_bytes(TEXT)
    expected = "0" * 64
    (tmp_path / "host_dists_stable_InRelease").write_text(
        f"MD5Sum:\n 1 1 main/i18n/Translation-en\nSHA256:\n {expected} 1 main/i18n/Translation-en\n"
    )
    with pytest.raises(DataError) as caught:
        verify(
            {
                "Filename": str(path),
                "MetaKey": "main/i18n/Translation-en",
                "Description": "https://me:secret@host.invalid stable/main Translation-en",
            }
        )
    for part in ("https://host.invalid stable", expected, hashlib.sha256(TEXT).hexdigest()):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("deb [ Trusted=yes ] http://a b c", "deb [ allow-insecure=no ] http://a b c"),
        (
            "deb [arch=x trusted=yes signed-by=/k] http://a?trusted=yes b",
            "deb [arch=x allow-insecure=no signed-by=/k] http://a?trusted=yes b",
        ),
        ("deb [allow-weak=yes]\ndeb http://a", "deb [allow-insecure=no]\ndeb http://a"),
    ],
)
def test_options_of_one_line_sources(before, after):
    assert require_signatures(before, ".list") == after


def test_fields_of_paragraphs_of_sources():
    before = "Types: deb\nTrusted: yes\nALLOW-INSECURE:\n yes\nSigned-By:\n key\n\nAllow-Weak: 1\n"
    assert require_signatures(before, ".sources") == "Types: deb\nSigned-By:\n key\n\n"
