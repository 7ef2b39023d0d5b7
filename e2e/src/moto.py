"""moto's server, with signatures verified as AWS verifies them. Arguments: address and port."""

import base64
import json
import sys

from moto.core.authorization import ActionAuthenticatorMixin
from moto.iam.access_control import IAMRequestBase
from moto.server import main

create_request = IAMRequestBase._create_aws_request
authenticate = ActionAuthenticatorMixin._authenticate_and_authorize_action


def create_request_without_body(self):
    """A request without a body is signed without one; moto hashes the query in its place."""
    request = create_request(self)
    if self._method == "GET":
        request.data = b""
    return request


def authenticate_signed(self, kind, resource="*"):
    """This one action is not signed: the token is what counts. moto has no use for it, so its claims are printed."""
    if self._get_action() != "AssumeRoleWithWebIdentity":
        return authenticate(self, kind, resource)
    claims = self.querystring["WebIdentityToken"][0].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    print("web identity:", json.dumps({name: claims[name] for name in ("aud", "sub")}), flush=True)


IAMRequestBase._create_aws_request = create_request_without_body
ActionAuthenticatorMixin._authenticate_and_authorize_action = authenticate_signed
main(["-H", sys.argv[1], "-p", sys.argv[2]])
