"""Which problems with S3 may pass by themselves, and what to do about the others."""

import os
import re

from trainer.errors import InputError, NotReadyError, UserError

PASSING_STATUS = (408, 409, 429)
# Codes of a 4xx answer. With the first three, the request arrived damaged, incomplete or too late.
PASSING_CODES = (
    "BadDigest",
    "IncompleteBody",
    "RequestTimeout",
    "SlowDown",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
)
EXPIRED_CODES = ("ExpiredToken", "TokenRefreshRequired")
REMEDIES = {
    "NoSuchBucket": "create the bucket {bucket} first, or correct the address",
    "InvalidAccessKeyId": "check AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "SignatureDoesNotMatch": "check AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    **dict.fromkeys(EXPIRED_CODES, "sign in again: the credentials have expired"),
    "InvalidToken": "sign in again, or check AWS_SESSION_TOKEN",
    "RequestTimeTooSkewed": "set this machine's clock",
    "PermanentRedirect": "set AWS_REGION to the region of the bucket",
    "AuthorizationHeaderMalformed": "set AWS_REGION to the region of the bucket",
}
_ON_A_FLEET = " (on a fleet: read_buckets in its file)"
# S3 tells nobody that a bucket lets whoever reads it pay.
_OR_PAY = "; if the bucket lets whoever reads it pay, set AWS_REQUEST_PAYER=requester (on a fleet: requester_pays)"
ELSE = "check AWS_REGION, AWS_ENDPOINT_URL and the credentials"


class CutOffError(Exception):
    """An answer that claims success but lacks what every such answer of S3 contains."""


def may_pass(problem: Exception) -> bool:
    """Whether the same call may succeed a moment later."""
    from botocore.exceptions import (
        ChecksumError,
        ClientError,
        ConnectionError,
        CredentialRetrievalError,
        FlexibleChecksumError,
        HTTPClientError,
        IncompleteReadError,
        SSLError,
    )
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError

    if isinstance(problem, ClientError):
        status = problem.response["ResponseMetadata"].get("HTTPStatusCode", 0)
        code = problem.response["Error"].get("Code", "")
        # A 404 without S3's error document may have lost it on the way: key, bucket or host may be missing.
        without_word = status == 404 and code == "404"
        return status >= 500 or status in PASSING_STATUS or code in PASSING_CODES or "Throttl" in code or without_word
    passing = (
        HTTPClientError,
        ConnectionError,
        CredentialRetrievalError,
        IncompleteReadError,
        ChecksumError,
        FlexibleChecksumError,
        ResponseParserError,
        CutOffError,
        # botocore reads the error document of a GetObject outside the code that translates these.
        HTTPError,
    )
    return isinstance(problem, passing) and not isinstance(problem, SSLError)


def found_no_credentials(problem: Exception) -> bool:
    """Whether a machine's metadata service gave no credentials, which it may do a moment later.

    That is where they are expected if it is to be asked more than once, as on a fleet's machines; elsewhere there are
    none, and to ask again would only keep a person waiting.
    """
    from botocore.exceptions import NoCredentialsError

    patient = os.environ.get("AWS_METADATA_SERVICE_NUM_ATTEMPTS", "1") != "1"
    return isinstance(problem, NoCredentialsError) and patient


def has_expired(problem: Exception) -> bool:
    """Whether S3 refuses because the credentials are too old: the same call may succeed with new ones."""
    from botocore.exceptions import ClientError

    return isinstance(problem, ClientError) and problem.response["Error"].get("Code") in EXPIRED_CODES


def refusal(bucket: str, action: str, place: str, problem: Exception) -> Exception:
    """The error to raise for a problem that does not pass; a problem that is not S3's is returned as it is."""
    from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

    if isinstance(problem, ParamValidationError):
        return InputError(f"cannot use {place}: S3 does not allow that name; correct the address")
    if isinstance(problem, BotoCoreError):
        return NotReadyError(
            f"cannot use {place} ({action}): {type(problem).__name__}; "
            "check the network, AWS_ENDPOINT_URL, AWS_REGION and that AWS credentials are set"
        )
    if not isinstance(problem, ClientError):
        return problem
    code = problem.response["Error"].get("Code", "?")
    if code == "NoSuchKey":
        return FileNotFoundError(f"{place} is not there")
    return _refused(bucket, action, place, code, problem.response["Error"].get("Message", ""))


def _refused(bucket: str, action: str, place: str, code: str, message: str) -> UserError:
    # S3 refuses an object for its key's sake in these words (documented with SSE-KMS).
    key = re.search(r"\bkms:\w+ on resource: (arn:\S+:key/[\w-]+)", message)
    if code in ("AccessDenied", "403") and key is not None:
        remedy = f"allow {key[0].replace('resource: ', '')} (on a fleet: kms_keys in its file)"
    elif code in ("AccessDenied", "403"):
        remedy = _permission(bucket, action, place)
    else:
        remedy = REMEDIES.get(code, ELSE).format(bucket=bucket)
    return NotReadyError(f"cannot use {place}: bucket {bucket} refused {action} ({code}); {remedy}")


def _permission(bucket: str, action: str, place: str) -> str:
    of_bucket = f"arn:aws:s3:::{bucket}"
    if action == "s3:ListBucket":
        return f"allow {action} on {of_bucket}{_ON_A_FLEET}{_OR_PAY}"
    allow = f"allow {action} on arn:aws:s3:::{place.removeprefix('s3://')}"
    if action == "s3:GetObject":
        # For a missing object, S3 answers 403 to anyone who may not list (documented with GetObject).
        listing = f"s3:ListBucket on {of_bucket}, without which a missing object is refused too"
        return f"{allow}, and {listing}{_ON_A_FLEET}{_OR_PAY}"
    return allow
