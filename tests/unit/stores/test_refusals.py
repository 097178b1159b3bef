"""What S3 refuses is said with the permission that is missing, in the action's own words."""

from botocore.exceptions import ClientError

from cluster.stores.refusals import refusal

KEY = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
NO_KEY = f"User: arn:aws:sts::1:assumed-role/x/i-1 is not authorized to perform: kms:Decrypt on resource: {KEY} because"


def said(message: str, action: str = "s3:GetObject") -> str:
    answer = {"Error": {"Code": "AccessDenied", "Message": message}}
    return str(refusal("articles", action, "s3://articles/a/b", ClientError(answer, action)))


def test_a_key_that_may_not_be_used_is_named() -> None:
    assert f"; allow kms:Decrypt on {KEY} (on a fleet: kms_keys in its file)" in said(NO_KEY)


def test_a_bucket_that_may_not_be_read_is_named_with_both_actions() -> None:
    assert said("Access Denied").endswith(
        "allow s3:GetObject on arn:aws:s3:::articles/a/b, and s3:ListBucket on arn:aws:s3:::articles, without which a "
        "missing object is refused too (on a fleet: read_buckets in its file); if the bucket lets whoever reads it "
        "pay, set AWS_REQUEST_PAYER=requester (on a fleet: requester_pays)"
    )
    assert said("Access Denied", "s3:PutObject").endswith("allow s3:PutObject on arn:aws:s3:::articles/a/b")
