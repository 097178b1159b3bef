"""Questions to AWS: each with a deadline for the whole of it, and an answer in words when it is refused."""

from collections.abc import Callable, Collection
from typing import Any, TypeVar

from cluster.process.deadline import within
from trainer.errors import NotReadyError

SECONDS = 30.0
T = TypeVar("T")


def client(service: str, region: str) -> Any:
    """A boto3 client that tries three times and gives up on a silent server."""
    from boto3.session import Session
    from botocore.config import Config

    config = Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=5, read_timeout=20)
    # Not boto3.client: its one session keeps the credentials that it found first.
    return Session().client(service, region_name=region, config=config)


def ask(action: str, call: Callable[[], T], *, known: Collection[str] = ()) -> T:
    """What `call` returns; `action` is its IAM name, such as `ec2:DescribeInstances`.

    Errors whose code is in `known` are the caller's to understand.

    Raises:
        NotReadyError: AWS refused, did not answer within SECONDS, or there are no credentials.
        botocore.exceptions.ClientError: an error that is `known`.
    """
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        return within(SECONDS, call)
    except TimeoutError:
        raise NotReadyError(f"AWS did not answer {action} within {SECONDS:g} s: look at the network") from None
    except NoCredentialsError:
        raise NotReadyError(
            f"{action} needs AWS credentials and there are none: set AWS_PROFILE, or run `aws configure`"
        ) from None
    except BotoCoreError as problem:
        raise NotReadyError(
            f"{action} failed ({type(problem).__name__}): look at the network, AWS_PROFILE and the region"
        ) from None
    except ClientError as problem:
        code = problem.response["Error"].get("Code", "")
        if code in ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthFailure"):
            raise NotReadyError(f"AWS refused {action} ({code}): allow it to whom AWS_PROFILE names") from None
        if code in ("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "RequestExpired"):
            raise NotReadyError(f"AWS refused {action} ({code}): renew the credentials") from None
        if code in known:
            raise
        reason = problem.response["Error"].get("Message", "no reason given")
        raise NotReadyError(f"AWS answered {action} with {code}: {reason}") from None
