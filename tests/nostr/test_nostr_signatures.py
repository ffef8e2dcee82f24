"""Signatures, against BIP-340's vectors."""

import time
from typing import Any, NamedTuple

import msgspec
import pytest

from gennostr.exceptions import MessageError
from gennostr.nostr import Event, generate_key, nip19, public_key, sign, verify
from gennostr.nostr.event import _is_signed
from tests.nostr.test_nostr_event import AUTHOR, REAL, SECRET

# No wheel for every Python, nor for builds without the GIL.
coincurve = pytest.importorskip("coincurve", reason="signing needs coincurve, which is not installed")


class Vector(NamedTuple):
    """One of BIP-340's test vectors; the signature is `r` and `s`."""

    secret: str
    public: str
    randomness: str
    message: str
    r: str
    s: str


# bip-0340/test-vectors.csv, those of 32 bytes: numbers 0 to 3 sign, 4 verifies, 5 to 14 must not.
SIGNING = [
    Vector(
        "0000000000000000000000000000000000000000000000000000000000000003",
        "f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "e907831f80848d1069a5371b402410364bdf1c5f8307b0084c55f1ce2dca8215",
        "25f66a4a85ea8b71e482a74f382d2ce5ebeee8fdb2172f477df4900d310536c0",
    ),
    Vector(
        "b7e151628aed2a6abf7158809cf4f3c762e7160f38b4da56a784d9045190cfef",
        "dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659",
        "0000000000000000000000000000000000000000000000000000000000000001",
        "243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89",
        "6896bd60eeae296db48a229ff71dfe071bde413e6d43f917dc8dcf8c78de3341",
        "8906d11ac976abccb20b091292bff4ea897efcb639ea871cfa95f6de339e4b0a",
    ),
    Vector(
        "c90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b14e5c9",
        "dd308afec5777e13121fa72b9cc1b7cc0139715309b086c960e18fd969774eb8",
        "c87aa53824b4d7ae2eb035a2b5bbbccc080e76cdc6d1692c4b0b62d798e6d906",
        "7e2d58d8b3bcdf1abadec7829054f90dda9805aab56c77333024b9d0a508b75c",
        "5831aaeed7b44bb74e5eab94ba9d4294c49bcf2a60728d8b4c200f50dd313c1b",
        "ab745879a5ad954a72c45a91c3a51d3c7adea98d82f8481e0e1e03674a6f3fb7",
    ),
    Vector(
        "0b432b2677937381aef05bb02a66ecd012773062cf3fa2549e44f58ed2401710",
        "25d1dff95105f5253c4022f628a996ad3a0d95fbf21d468a1b33f8c160d8f517",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "7eb0509757e246f19449885651611cb965ecc1a187dd51b64fda1edc9637d5ec",
        "97582b9cb13db3933705b32ba982af5af25fd78881ebb32771fc5922efc66ea3",
    ),
]
VERIFYING_ONLY = Vector(
    "",
    "d69c3509bb99e412e68b0fe8544e72837dfa30746d8be2aa65975f29d22dc7b9",
    "",
    "4df3c3f68fcc83b27e9d42c90431a72499f17875c81a599b566c9889b9696703",
    "00000000000000000000003b78ce563f89a0ed9414f5aa28ad0d96d6795f9c63",
    "76afb1548af603b3eb45c9f8207dee1060cb71c04e80f593060b07d28308d7f4",
)
R = "6cff5c3ba86c69ea4b7376f31a9bcb4f74c1976089b2d9963da2e5543e177769"
S = "69e89b4c5564d00349106b8497785dd7d1d713a8ae82b32fa79d5f7fc407d39b"
MESSAGE = SIGNING[1].message
INVALID = {
    "public key not on the curve": ("eefdea4cdb677750a420fee807eacf21eb9898ae79b9768766e4faa04a2d4a34", R, S),
    "has_even_y(R) is false": (
        AUTHOR,
        "fff97bd5755eeea420453a14355235d382f6472f8568a18b2f057a1460297556",
        "3cc27944640ac607cd107ae10923d9ef7a73c643e166be5ebeafa34b1ac553e2",
    ),
    "negated message": (
        AUTHOR,
        "1fa62e331edbc21c394792d2ab1100a7b432b013df3f6ff4f99fcb33e0e1515f",
        "28890b3edb6e7189b630448b515ce4f8622a954cfe545735aaea5134fccdb2bd",
    ),
    "negated s": (AUTHOR, R, "961764b3aa9b2ffcb6ef947b6887a226e8d7c93e00c5ed0c1834ff0d0c2e6da6"),
    "infinite, x is 0": (AUTHOR, "0" * 64, "123dda8328af9c23a94c1feecfd123ba4fb73476f0d594dcb65c6425bd186051"),
    "infinite, x is 1": (AUTHOR, "0" * 63 + "1", "7615fbaf5ae28864013c099742deadb4dba87f11ac6754f93780d5a1837cf197"),
    "r not on the curve": (AUTHOR, "4a298dacae57395a15d0795ddbfd1dcb564da82b0f269bc70a74f8220429ba1d", S),
    "r is the field size": (AUTHOR, "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f", S),
    "s is the curve's order": (AUTHOR, R, "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"),
    "public key over the field size": ("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc30", R, S),
}


def event(**changes: Any) -> Event:
    return msgspec.structs.replace(sign(SECRET, created_at=1, kind=1, content="x"), **changes)


@pytest.mark.parametrize("vector", SIGNING, ids=range(4))
def test_a_secret_key_has_the_public_key_of_bip_340(vector: Vector) -> None:
    assert public_key(vector.secret) == vector.public
    assert public_key(bytes.fromhex(vector.secret)) == vector.public


@pytest.mark.parametrize("vector", SIGNING, ids=range(4))
def test_the_library_signs_as_bip_340_does(vector: Vector) -> None:
    key = coincurve.PrivateKey(bytes.fromhex(vector.secret))
    signature = key.sign_schnorr(bytes.fromhex(vector.message), bytes.fromhex(vector.randomness))
    assert signature.hex() == vector.r + vector.s


@pytest.mark.parametrize("vector", [*SIGNING, VERIFYING_ONLY], ids=range(5))
def test_the_valid_signatures_of_bip_340_are_valid(vector: Vector) -> None:
    assert _is_signed(vector.public, vector.message, vector.r + vector.s)


@pytest.mark.parametrize(("public", "r", "s"), INVALID.values(), ids=INVALID)
def test_the_invalid_signatures_of_bip_340_are_invalid(public: str, r: str, s: str) -> None:
    assert not _is_signed(public, MESSAGE, r + s)


def test_what_the_invalid_signatures_were_made_from_is_valid() -> None:
    assert _is_signed(AUTHOR, MESSAGE, R + S)


def test_a_real_event_is_valid() -> None:
    verify(REAL)


def test_a_signed_event_carries_its_fields_and_is_valid() -> None:
    signed = sign(SECRET, created_at=7, kind=30023, content="x", tags=(("d", "a"), ["t"]))
    assert (signed.pubkey, signed.created_at, signed.kind, signed.content) == (AUTHOR, 7, 30023, "x")
    assert signed.tags == [["d", "a"], ["t"]]
    verify(signed)


def test_a_signed_event_does_not_change_with_its_authors_tags() -> None:
    tags = [["t", "a"]]
    signed = sign(SECRET, created_at=1, kind=1, content="", tags=tags)
    tags[0].append("b")
    tags.append([])
    verify(signed)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"content": "y"}, "the id is wrong"),
        ({"tags": [["t", "y"]]}, "the id is wrong"),
        ({"created_at": 10**29}, "the id is wrong"),
        ({"id": "0" * 64}, "the id is wrong"),
        ({"id": ""}, "the id is wrong"),
        ({"id": event().id.upper()}, "the id is wrong"),
        ({"pubkey": REAL.pubkey}, "the id is wrong"),
        ({"pubkey": ""}, "pubkey is not 64 lower-case hex digits"),
        ({"pubkey": "ab"}, "pubkey is not 64 lower-case hex digits"),
        ({"pubkey": AUTHOR.upper()}, "pubkey is not 64 lower-case hex digits"),
        ({"pubkey": AUTHOR + "\n"}, "pubkey is not 64 lower-case hex digits"),
        ({"sig": ""}, "sig is not 128 lower-case hex digits"),
        ({"sig": REAL.sig[:-2]}, "sig is not 128 lower-case hex digits"),
        ({"sig": " " + REAL.sig}, "sig is not 128 lower-case hex digits"),
        ({"sig": REAL.sig.upper()}, "sig is not 128 lower-case hex digits"),
        ({"sig": "g" * 128}, "sig is not 128 lower-case hex digits"),
        ({"sig": REAL.sig}, "the signature is not that of"),
        ({"sig": "0" * 128}, "the signature is not that of"),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_a_forged_event_is_an_error_that_names_what_is_wrong(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(MessageError, match=problem):
        verify(event(**changes))


@pytest.mark.parametrize("bit", range(0, 512, 37))
def test_a_signature_with_one_bit_changed_is_refused(bit: int) -> None:
    signed = event()
    flipped = f"{int(signed.sig, 16) ^ 1 << bit:0128x}"
    with pytest.raises(MessageError, match="the signature is not that of"):
        verify(msgspec.structs.replace(signed, sig=flipped))


def test_a_changed_event_with_its_new_id_is_refused_for_its_old_signature() -> None:
    changed = event(content="y")
    with pytest.raises(MessageError, match="the signature is not that of"):
        verify(msgspec.structs.replace(changed, id=changed.compute_id()))


def test_a_success_is_remembered_for_that_event_and_signature_alone() -> None:
    signed, another = (sign(SECRET, created_at=1, kind=1, content=content) for content in ("remembered", "another"))
    for _ in range(2):
        verify(signed)
        for other in (
            msgspec.structs.replace(signed, content="forged"),
            msgspec.structs.replace(signed, sig=REAL.sig),
            msgspec.structs.replace(signed, pubkey=REAL.pubkey),
            msgspec.structs.replace(another, sig=signed.sig),
        ):
            for _ in range(2):
                with pytest.raises(MessageError):
                    verify(other)


def test_a_secret_key_as_bytes_and_as_hex_of_either_case_signs_as_the_same_author() -> None:
    for secret in (SECRET, SECRET.upper(), bytes.fromhex(SECRET)):
        signed = sign(secret, created_at=1, kind=1, content="")
        assert signed.pubkey == AUTHOR
        verify(signed)


def test_a_public_key_that_is_no_point_of_the_curve_signs_nothing() -> None:
    nobody = INVALID["public key not on the curve"][0]
    forged = event(pubkey=nobody)
    with pytest.raises(MessageError, match="the signature is not that of"):
        verify(msgspec.structs.replace(forged, id=forged.compute_id()))


def test_an_error_about_an_event_stays_short_and_printable() -> None:
    with pytest.raises(MessageError) as caught:
        verify(event(id="\x1b[31m" + "x" * 1_000_000, pubkey="\x00" * 1_000_000))
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "secret",
    ["", "ab", "g" * 64, SECRET + "ab", " " + SECRET[1:], "0" * 64, "f" * 64, b"", b"\1" * 31, b"\1" * 33],
    ids=repr,
)
def test_what_is_no_secret_key_is_a_value_error_that_does_not_show_it(secret: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"a secret key (is 32 bytes, or 64 hex digits|must be from 1)") as caught:
        sign(secret, created_at=1, kind=1, content="")
    if len(secret) > 2:
        shown = secret if isinstance(secret, str) else repr(secret)
        assert shown not in str(caught.value)


def test_nsec1_as_a_secret_key_is_refused_with_what_to_use() -> None:
    text = nip19.Nsec(SECRET).encode()
    with pytest.raises(ValueError, match=r"use nip19\.decode\(text\)\.secret_key") as caught:
        public_key(text)
    assert text[5:20] not in str(caught.value)


def test_a_generated_key_signs() -> None:
    keys = {generate_key() for _ in range(10)}
    assert len(keys) == 10
    for key in keys:
        verify(sign(key, kind=1, content=""))


@pytest.mark.parametrize("drawn", [0, 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D036413F])
def test_the_least_and_the_greatest_generated_key_are_valid(monkeypatch: pytest.MonkeyPatch, drawn: int) -> None:
    def randbelow(limit: int) -> int:
        assert drawn < limit
        return drawn

    monkeypatch.setattr("secrets.randbelow", randbelow)
    assert len(generate_key()) == 64
    verify(sign(generate_key(), kind=1, content=""))


def test_an_event_is_signed_now_unless_a_time_is_given() -> None:
    before = int(time.time())
    signed = sign(SECRET, kind=1, content="")
    assert before <= signed.created_at <= time.time()
    assert sign(SECRET, kind=1, content="", created_at=0).created_at == 0


def test_a_secret_key_of_another_type_is_a_type_error_that_names_the_type() -> None:
    wrong: Any = 32
    with pytest.raises(TypeError, match="text or bytes, not int"):
        public_key(wrong)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("created_at", 1.5),
        ("created_at", True),
        ("kind", "1"),
        ("content", b"x"),
        ("tags", ["ab"]),
        ("tags", [["e", 3]]),
    ],
    ids=repr,
)
def test_signing_refuses_fields_of_the_wrong_type_by_name(field: str, value: object) -> None:
    fields: dict[str, Any] = {"created_at": 1, "kind": 1, "content": "", field: value}
    with pytest.raises(MessageError, match=rf"not an event: .*\$\.{field}"):
        sign(SECRET, **fields)
