"""Requests to AWS: each has a deadline for the whole call, and a refusal becomes an error for a person."""

from collections.abc import Callable, Collection
from typing import Any, TypeVar

from cluster.process.deadline import within
from trainer.errors import NotReadyError

SECONDS = 30.0
T = TypeVar("T")


def client(service: str, region: str) -> Any:
    """A boto3 client that tries three times, and gives up when a server is silent."""
    from boto3.session import Session
    from botocore.config import Config

    config = Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=5, read_timeout=20)
    # Not `boto3.client`, whose one session keeps the credentials that it found first.
    return Session().client(service, region_name=region, config=config)


def ask(action: str, call: Callable[[], T], *, known: Collection[str] = ()) -> T:
    """What `call` returns; `action` is its IAM name, such as `ec2:DescribeInstances`.

    Errors whose code is in `known` are passed on for the caller to handle.

    Raises:
        NotReadyError: AWS refused, did not answer within SECONDS, or there are no credentials.
        botocore.exceptions.ClientError: an error that is `known`.
    """
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        return within(SECONDS, call)
    except TimeoutError:
        raise NotReadyError(f"AWS did not answer {action} within {SECONDS:g} s: check the network") from None
    except NoCredentialsError:
        raise NotReadyError(
            f"{action} needs AWS credentials and there are none: set AWS_PROFILE, or run `aws configure`"
        ) from None
    except BotoCoreError as problem:
        raise NotReadyError(
            f"{action} failed ({type(problem).__name__}): check the network, AWS_PROFILE and the region"
        ) from None
    except ClientError as problem:
        code = problem.response["Error"].get("Code", "")
        if code in ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthFailure"):
            raise NotReadyError(f"AWS refused {action} ({code}): allow it for the identity of AWS_PROFILE") from None
        if code in ("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "RequestExpired"):
            raise NotReadyError(f"AWS refused {action} ({code}): renew the credentials") from None
        if code in known:
            raise
        reason = problem.response["Error"].get("Message", "no reason given")
        raise NotReadyError(f"AWS answered {action} with {code}: {reason}") from None
